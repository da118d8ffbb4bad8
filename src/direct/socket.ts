/** A datagram socket of netproxy's own, marked and connected, so that ICMP errors come back to it. */
import dgram from 'node:dgram';
import type { Endpoint, Family, FlowTuple, RejectReason } from '../core/flow.ts';
import { DIRECT_DATAGRAMS_BYTES, UDP_RECEIVE_BUFFER_BYTES } from '../core/limits.ts';
import type { Native } from '../core/native.ts';
import type { OwnSockets } from '../core/own-sockets.ts';
import { reasonOf } from './reason.ts';

export interface SocketMeans {
  readonly native: Pick<Native, 'openDatagram' | 'keepWhole' | 'drainErrors'>;
  readonly mark: number;
  readonly own: OwnSockets;
}

export interface SocketEvents {
  received(payload: Buffer): void;
  /** An ICMP error came, or the kernel did not send; the socket goes on. */
  failed(reason: RejectReason): void;
  /** A datagram was larger than the path takes: `mtu` in bytes of an IP packet. */
  tooBig(mtu: number): void;
  /** It could not be connected, and is closed; `failed` has said why. */
  ended(): void;
}

interface Waiting {
  readonly payload: Uint8Array;
  readonly whole: boolean;
}

/** connect(2) wants one where no port means anything. */
const ANY_PORT = 1;

export class DatagramSocket {
  readonly #native: SocketMeans['native'];
  readonly #events: SocketEvents;
  readonly #fd: number;
  readonly #socket: dgram.Socket;
  /** What came before the socket was Node's too; undefined from then on. */
  #waiting: Waiting[] | undefined = [];
  #whole: boolean | undefined;
  #closed = false;

  /** Throws what openDatagram does. A ping has no port, for which `to` has 0. */
  constructor(
    protocol: FlowTuple['protocol'],
    family: Family,
    to: Endpoint,
    { native, mark, own }: SocketMeans,
    events: SocketEvents,
  ) {
    this.#native = native;
    this.#events = events;
    this.#fd = native.openDatagram(protocol === 'icmp' ? 'ping' : 'udp', family, mark);
    const socket = dgram.createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      recvBufferSize: UDP_RECEIVE_BUFFER_BYTES,
      // It is an address already, and is to be connected in this turn.
      lookup: (address, _options, done) => done(null, address, family),
    });
    this.#socket = socket;
    socket.on('message', (payload) => {
      if (!this.#closed) this.#events.received(payload);
    });
    socket.on('error', (error) => this.#failed(error));
    socket.bind({ fd: this.#fd });
    // Node gives the callback an error when the kernel has no route; its types do not say so.
    socket.connect(to.port === 0 ? ANY_PORT : to.port, to.address, ((error?: Error) => {
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      if (this.#closed) return;
      if (error !== undefined) {
        this.#failed(error);
        this.close();
        this.#events.ended();
        return;
      }
      const { address, port } = socket.address();
      socket.once('close', own.add(protocol, { address, port }, to));
      for (const { payload, whole } of waiting) this.send(payload, whole);
    }) as () => void);
  }

  /** `payload` is the socket's from now on. More than its queue takes is dropped, as a device would. */
  send(payload: Uint8Array, whole: boolean): void {
    if (this.#closed) return;
    if (this.#waiting !== undefined) {
      this.#waiting.push({ payload, whole });
      return;
    }
    const socket = this.#socket;
    if (socket.getSendQueueSize() > DIRECT_DATAGRAMS_BYTES) return;
    if (whole !== this.#whole) {
      this.#whole = whole;
      this.#native.keepWhole(this.#fd, whole);
    }
    socket.send(payload, (error) => {
      if (error) this.#failed(error);
    });
  }

  /** No event follows. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  #failed(error: Error): void {
    if (this.#closed) return;
    const mtu = this.#native.drainErrors(this.#fd);
    if ((error as NodeJS.ErrnoException).code !== 'EMSGSIZE') this.#events.failed(reasonOf(error));
    else if (mtu > 0) this.#events.tooBig(mtu);
  }
}
