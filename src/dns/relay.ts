/**
 * Carries each DNS question of the application to the very resolver it was sent to, by TCP through a
 * dialer (RFC 7766), since SSH carries no UDP.
 */
import type { DatagramCarrier, DatagramReceiver, UdpDatagram, UdpFlow } from '../core/datagram.ts';
import type { Dialer } from '../core/dialer.ts';
import { DNS_QUERIES_MAX, DNS_RESOLVERS_MAX } from '../core/limits.ts';
import { failure, isQuery, parse } from './message.ts';
import { Resolver } from './resolver.ts';

export class DnsRelay implements DatagramCarrier {
  readonly #dialer: Dialer;
  readonly #resolvers = new Map<string, Resolver>();

  constructor(dialer: Dialer) {
    this.#dialer = dialer;
  }

  open(flow: UdpFlow): DatagramReceiver {
    // By the flow, which counts its answers.
    const answer = (payload: Uint8Array): void => flow.send(payload);
    return { accept: (datagram) => this.accept({ ...datagram, answer }), closed() {} };
  }

  /** Takes a datagram to port 53. What is no question is dropped. */
  accept(datagram: UdpDatagram): void {
    const { payload, destination } = datagram;
    const message = isQuery(payload) ? parse(payload) : undefined;
    if (message === undefined) return;
    const resolver = this.#resolvers.get(destination.address) ?? this.#add(destination.address);
    if (resolver === undefined || resolver.outstanding >= DNS_QUERIES_MAX) {
      datagram.answer(failure(payload, message));
      return;
    }
    resolver.ask(datagram, message);
  }

  close(): void {
    for (const resolver of this.#resolvers.values()) resolver.close();
  }

  #add(address: string): Resolver | undefined {
    if (this.#resolvers.size >= DNS_RESOLVERS_MAX) return undefined;
    const resolver = new Resolver(this.#dialer, () => this.#resolvers.delete(address));
    this.#resolvers.set(address, resolver);
    return resolver;
  }
}
