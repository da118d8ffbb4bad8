import { addressBytes } from '../core/cidr.ts';
import type { EchoRequest, UdpFlow } from '../core/datagram.ts';
import type { Family, RejectReason } from '../core/flow.ts';
import { RELAY_PING_MS, RELAY_PINGS_MAX } from '../core/limits.ts';
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

const SEQUENCES = 2 ** 16;

/** The pings of one socket of the application, to one host. The relay knows them by numbers of ours. */
export class PingRelayFlow extends RelayFlow {
  /** By sequence number at the relay; the oldest first. */
  readonly #waiting = new Map<number, { readonly request: EchoRequest; readonly at: number }>();
  #next = 0;
  #usedAt = 0;

  constructor(id: number, { family, destination }: EchoRequest) {
    super(id, family === 4 ? KIND_PING4 : KIND_PING6, family, destination, 0);
  }

  /** Gives what is to be sent. */
  ask(request: EchoRequest, now: number): Uint8Array {
    if (this.#waiting.size >= RELAY_PINGS_MAX) this.#waiting.delete(this.#waiting.keys().next().value!);
    const sequence = this.#next;
    this.#next = (sequence + 1) % SEQUENCES;
    this.#usedAt = now;
    this.#waiting.set(sequence, { request, at: now });
    const payload = Buffer.allocUnsafe(2 + request.payload.length);
    payload.writeUInt16BE(sequence);
    payload.set(request.payload, 2);
    return payload;
  }

  /** Gives up what waits for too long. True when nothing does, and none was asked for a while. */
  idle(now: number): boolean {
    for (const [sequence, { at }] of this.#waiting) {
      if (now - at >= RELAY_PING_MS) this.#waiting.delete(sequence);
    }
    return this.#waiting.size === 0 && now - this.#usedAt >= RELAY_PING_MS;
  }

  received(payload: Buffer): void {
    if (payload.length < 2) return;
    const sequence = payload.readUInt16BE();
    this.#waiting.get(sequence)?.request.answer(payload.subarray(2));
    this.#waiting.delete(sequence);
  }

  refuse(reason: RejectReason): void {
    for (const { request } of this.#waiting.values()) request.refuse(reason);
    this.#waiting.clear();
  }

  tooBig(mtu: number): void {
    for (const { request } of this.#waiting.values()) request.tooBig(mtu);
    this.#waiting.clear();
  }

  /** The server does not let us ping: hands over what waits. */
  release(): EchoRequest[] {
    const requests = [...this.#waiting.values()].map(({ request }) => request);
    this.#waiting.clear();
    return requests;
  }
}
