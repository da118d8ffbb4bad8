import type { DatagramCarrier, DatagramReceiver, EchoRequest, UdpFlow } from '../core/datagram.ts';
import type { Commander } from '../core/dialer.ts';
import type { Log } from '../core/log.ts';
import { Relay } from './relay.ts';
import type { RelayCounters } from './relay.ts';

export interface RelaysOptions {
  /** Bastions and groups by name; may change. */
  readonly upstreams: ReadonlyMap<string, Commander>;
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  now(): number;
  /** Answers the pings that a server does not let its relay send. */
  pingOtherwise(request: EchoRequest, upstream: string): void;
}

/** A relay for each bastion or group that a verdict names. */
export class Relays implements DatagramCarrier {
  readonly #options: RelaysOptions;
  readonly #relays = new Map<string, Relay>();

  constructor(options: RelaysOptions) {
    this.#options = options;
  }

  get counters(): readonly RelayCounters[] {
    return [...this.#relays.values()].map(({ counters }) => counters);
  }

  open(flow: UdpFlow, upstream: string): DatagramReceiver {
    return this.#relay(upstream).open(flow);
  }

  ping(request: EchoRequest, upstream: string): void {
    this.#relay(upstream).ping(request);
  }

  close(): void {
    for (const relay of this.#relays.values()) relay.stop();
    this.#relays.clear();
  }

  #relay(upstream: string): Relay {
    const known = this.#relays.get(upstream);
    if (known !== undefined) return known;
    const { upstreams, ...options } = this.#options;
    const relay = new Relay({
      ...options,
      upstream,
      commander: () => upstreams.get(upstream),
      pingOtherwise: (request) => this.#options.pingOtherwise(request, upstream),
    });
    this.#relays.set(upstream, relay);
    return relay;
  }
}
