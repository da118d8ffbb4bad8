/** UDP past every bastion: a marked socket for each flow, connected, so that ICMP errors come back to it. */
import dgram from 'node:dgram';
import type { DatagramCarrier, DatagramReceiver, UdpDatagram, UdpFlow } from '../core/datagram.ts';
import { DIRECT_DATAGRAMS_BYTES, DIRECT_FLOWS_MAX, UDP_RECEIVE_BUFFER_BYTES } from '../core/limits.ts';
import type { Native } from '../core/native.ts';
import type { OwnSockets } from '../core/own-sockets.ts';
import { reasonOf } from './reason.ts';

export interface DirectUdpOptions {
  readonly native: Pick<Native, 'openUdp'>;
  readonly mark: number;
  readonly own: OwnSockets;
}

export class DirectUdp implements DatagramCarrier {
  readonly #options: DirectUdpOptions;
  /** Flows with a socket; the one used longest ago first. */
  readonly #open = new Set<DirectUdpFlow>();

  constructor(options: DirectUdpOptions) {
    this.#options = options;
  }

  get sockets(): number {
    return this.#open.size;
  }

  open(flow: UdpFlow): DatagramReceiver {
    return new DirectUdpFlow(flow, this.#options, {
      used: (receiver) => {
        this.#open.delete(receiver);
        for (const oldest of this.#open) {
          if (this.#open.size < DIRECT_FLOWS_MAX) break;
          oldest.closed();
        }
        this.#open.add(receiver);
      },
      closed: (receiver) => void this.#open.delete(receiver),
    });
  }
}

interface SocketUse {
  /** It has a socket, and uses it. */
  used(flow: DirectUdpFlow): void;
  closed(flow: DirectUdpFlow): void;
}

class DirectUdpFlow implements DatagramReceiver {
  readonly #flow: UdpFlow;
  readonly #options: DirectUdpOptions;
  readonly #use: SocketUse;
  #socket: dgram.Socket | undefined;
  /** What came before the socket was Node's too; undefined from then on. */
  #waiting: Uint8Array[] | undefined;

  constructor(flow: UdpFlow, options: DirectUdpOptions, use: SocketUse) {
    this.#flow = flow;
    this.#options = options;
    this.#use = use;
  }

  accept({ payload }: UdpDatagram): void {
    try {
      this.#socket ??= this.#connect();
    } catch (error) {
      this.#flow.refuse(reasonOf(error as Error));
      return;
    }
    this.#use.used(this);
    if (this.#waiting !== undefined) this.#waiting.push(payload);
    else this.#send(payload);
  }

  closed(): void {
    this.#use.closed(this);
    this.#socket?.close();
    this.#socket = undefined;
    this.#waiting = undefined;
  }

  #connect(): dgram.Socket {
    const { family, destination } = this.#flow.tuple;
    const { native, mark } = this.#options;
    const fd = native.openUdp(family, mark);
    const socket = dgram.createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      recvBufferSize: UDP_RECEIVE_BUFFER_BYTES,
      // It is an address already, and is to be connected in this turn.
      lookup: (address, _options, done) => done(null, address, family),
    });
    socket.on('message', (payload) => this.#flow.send(payload));
    // ICMP errors; the socket goes on.
    socket.on('error', (error) => this.#failed(error));
    socket.bind({ fd });
    this.#waiting = [];
    // Node gives the callback an error when the kernel has no route; its types do not say so.
    socket.connect(destination.port, destination.address, ((error?: Error) => {
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      if (this.#socket !== socket) return;
      if (error !== undefined) {
        this.#failed(error);
        this.closed();
        return;
      }
      const source = { address: socket.address().address, port: socket.address().port };
      socket.once('close', this.#options.own.add('udp', source, destination));
      for (const payload of waiting) this.#send(payload);
    }) as () => void);
    return socket;
  }

  #send(payload: Uint8Array): void {
    const socket = this.#socket;
    if (socket === undefined || socket.getSendQueueSize() > DIRECT_DATAGRAMS_BYTES) return;
    socket.send(payload, (error) => {
      if (error) this.#failed(error);
    });
  }

  #failed(error: Error): void {
    if (this.#socket !== undefined) this.#flow.refuse(reasonOf(error));
  }
}
