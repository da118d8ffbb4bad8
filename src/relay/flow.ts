import { addressBytes } from '../core/cidr.ts';
import type { EchoRequest, UdpFlow } from '../core/datagram.ts';
import type { Family, RejectReason } from '../core/flow.ts';
import { WaitingEchoes } from '../core/waiting-echoes.ts';
import { ERROR_TOO_BIG, KIND_PING4, KIND_PING6, KIND_UDP4, KIND_UDP6 } from './frames.ts';

/** By code of an error frame, from 1. What has no socket cannot be had just now. */
const REASONS: readonly (RejectReason | undefined)[] = [
  undefined,
  'refused',
  'host-unreachable',
  'network-unreachable',
  'prohibited',
  undefined,
  'host-unreachable',
];

/** A conversation that has, or is to have, a socket of its own at the relay. */
export abstract class RelayFlow {
  readonly id: number;
  readonly kind: number;
  readonly port: number;
  readonly address: Uint8Array;
  /** The relay has a socket for it. */
  open = false;
  /** No more is sent. */
  over = false;

  constructor(id: number, kind: number, family: Family, address: string, port: number) {
    this.id = id;
    this.kind = kind;
    this.address = addressBytes(address, family);
    this.port = port;
  }

  /** From the far end; `payload` is valid until the call returns. */
  abstract received(payload: Buffer): void;
  abstract refuse(reason: RejectReason): void;
  abstract tooBig(mtu: number): void;

  failed(code: number, mtu: number): void {
    if (code === ERROR_TOO_BIG) {
      if (mtu > 0) this.tooBig(mtu);
      return;
    }
    this.refuse(REASONS[code] ?? 'host-unreachable');
  }
}

/** A UDP flow of the application. */
export class UdpRelayFlow extends RelayFlow {
  readonly #flow: UdpFlow;

  constructor(id: number, flow: UdpFlow) {
    const { family, destination } = flow.tuple;
    super(id, family === 4 ? KIND_UDP4 : KIND_UDP6, family, destination.address, destination.port);
    this.#flow = flow;
  }

  received(payload: Buffer): void {
    if (!this.over) this.#flow.send(payload);
  }

  refuse(reason: RejectReason): void {
    if (!this.over) this.#flow.refuse(reason);
  }

  tooBig(mtu: number): void {
    if (!this.over) this.#flow.tooBig(mtu);
  }
}

/** The pings of one socket of the application, to one host. The relay knows them by numbers of ours. */
export class PingRelayFlow extends RelayFlow {
  readonly #waiting = new WaitingEchoes();

  constructor(id: number, { family, destination }: EchoRequest) {
    super(id, family === 4 ? KIND_PING4 : KIND_PING6, family, destination, 0);
  }

  /** Gives what is to be sent. */
  ask(request: EchoRequest, now: number): Uint8Array {
    const payload = Buffer.allocUnsafe(2 + request.payload.length);
    payload.writeUInt16BE(this.#waiting.add(request, now));
    payload.set(request.payload, 2);
    return payload;
  }

  /** As `WaitingEchoes.idle`. */
  idle(now: number): boolean {
    return this.#waiting.idle(now);
  }

  received(payload: Buffer): void {
    if (payload.length >= 2) this.#waiting.answer(payload.readUInt16BE(), payload.subarray(2));
  }

  refuse(reason: RejectReason): void {
    for (const request of this.#waiting.release()) request.refuse(reason);
  }

  tooBig(mtu: number): void {
    for (const request of this.#waiting.release()) request.tooBig(mtu);
  }

  /** The server does not let us ping: hands over what waits. */
  release(): EchoRequest[] {
    return this.#waiting.release();
  }
}
