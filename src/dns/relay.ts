/**
 * Carries each DNS question of the application to the very resolver it was sent to, by TCP through a
 * dialer (RFC 7766), since SSH carries no UDP.
 */
import type { DatagramCarrier, DatagramReceiver, UdpDatagram, UdpFlow } from '../core/datagram.ts';
import type { Dialer } from '../core/dialer.ts';
import {
  DNS_QUERIES_MAX,
  DNS_RESOLVERS_MAX,
  DNS_RESOLVER_WAITING_MAX_BYTES,
  DNS_WAITING_MAX_BYTES,
} from '../core/limits.ts';
import { failure, isQuery, parse } from './message.ts';
import { Resolver } from './resolver.ts';

export interface DnsCounters {
  readonly resolvers: number;
  /** Questions that wait for their answers, and their bytes. */
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly asked: number;
  /** Questions over a limit, which were answered SERVFAIL at once. */
  readonly refused: number;
}

export class DnsRelay implements DatagramCarrier {
  readonly #dialer: Dialer;
  readonly #resolvers = new Map<string, Resolver>();
  #asked = 0;
  #refused = 0;

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
    if (resolver === undefined || !this.#hasRoom(resolver, payload.length)) {
      this.#refused++;
      datagram.answer(failure(payload, message));
      return;
    }
    this.#asked++;
    resolver.ask(datagram, message);
  }

  get counters(): DnsCounters {
    let waiting = 0;
    for (const resolver of this.#resolvers.values()) waiting += resolver.outstanding;
    return {
      resolvers: this.#resolvers.size,
      waiting,
      waitingBytes: this.#waitingBytes(),
      asked: this.#asked,
      refused: this.#refused,
    };
  }

  #hasRoom(resolver: Resolver, bytes: number): boolean {
    return (
      resolver.outstanding < DNS_QUERIES_MAX &&
      resolver.waitingBytes + bytes <= DNS_RESOLVER_WAITING_MAX_BYTES &&
      this.#waitingBytes() + bytes <= DNS_WAITING_MAX_BYTES
    );
  }

  #waitingBytes(): number {
    let bytes = 0;
    for (const resolver of this.#resolvers.values()) bytes += resolver.waitingBytes;
    return bytes;
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
