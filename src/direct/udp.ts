/** UDP past every bastion: a socket of its own for each flow. */
import type { DatagramCarrier, DatagramReceiver, UdpDatagram, UdpFlow } from '../core/datagram.ts';
import { DIRECT_FLOWS_MAX } from '../core/limits.ts';
import { reasonOf } from './reason.ts';
import { DatagramSocket } from './socket.ts';
import type { SocketMeans } from './socket.ts';

export interface DirectUdpCounters {
  readonly sockets: number;
  /** Sockets that gave way to those of other flows. */
  readonly evicted: number;
}

export class DirectUdp implements DatagramCarrier {
  readonly #means: SocketMeans;
  /** Flows with a socket; the one used longest ago first. */
  readonly #open = new Set<DirectUdpFlow>();
  #evicted = 0;

  constructor(means: SocketMeans) {
    this.#means = means;
  }

  get counters(): DirectUdpCounters {
    return { sockets: this.#open.size, evicted: this.#evicted };
  }

  open(flow: UdpFlow): DatagramReceiver {
    return new DirectUdpFlow(flow, this.#means, {
      used: (receiver) => {
        this.#open.delete(receiver);
        for (const oldest of this.#open) {
          if (this.#open.size < DIRECT_FLOWS_MAX) break;
          oldest.closed();
          this.#evicted++;
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

/** A flow whose socket was closed gets another one with its next datagram. */
class DirectUdpFlow implements DatagramReceiver {
  readonly #flow: UdpFlow;
  readonly #means: SocketMeans;
  readonly #use: SocketUse;
  #socket: DatagramSocket | undefined;

  constructor(flow: UdpFlow, means: SocketMeans, use: SocketUse) {
    this.#flow = flow;
    this.#means = means;
    this.#use = use;
  }

  accept({ payload, whole }: UdpDatagram): void {
    try {
      this.#socket ??= this.#connect();
    } catch (error) {
      this.#flow.refuse(reasonOf(error as Error));
      return;
    }
    this.#use.used(this);
    this.#socket.send(payload, whole);
  }

  closed(): void {
    this.#use.closed(this);
    this.#socket?.close();
    this.#socket = undefined;
  }

  #connect(): DatagramSocket {
    const flow = this.#flow;
    const { family, destination } = flow.tuple;
    return new DatagramSocket('udp', family, destination, this.#means, {
      received: (payload) => flow.send(payload),
      failed: (reason) => flow.refuse(reason),
      tooBig: (mtu) => flow.tooBig(mtu),
      ended: () => this.closed(),
    });
  }
}
