/**
 * A far end for tests of what looks for resolvers and routes there: it answers dials by address, in a later turn, and
 * questions on their channels.
 */
import type { Channel, ChannelEnd, DialFailure, DialHandlers, Dialer } from '../../src/core/dialer.ts';
import type { Endpoint } from '../../src/core/flow.ts';
import type { ByteSink, ByteSource } from '../../src/core/stream.ts';

/** What a resolver says to a query, without its length; undefined: nothing. */
export type Resolve = (query: Buffer) => Buffer | undefined;

/** What is at an address: a resolver, why there is none, or `silent`, which answers no dial. */
export type Place = Resolve | DialFailure['reason'] | 'silent' | 'no-upstream' | 'no-bastion';

export class FarNetwork implements Dialer {
  /** By `address:port`, in the order of the dials. */
  readonly dials: string[] = [];
  cancelled = 0;
  readonly channels: FarChannel[] = [];
  /** By `address:port`, or by address for any port. */
  readonly places = new Map<string, Place>();
  /** What is everywhere else. */
  elsewhere: Place = 'refused';

  dial({ address, port }: Endpoint, _origin: Endpoint, handlers: DialHandlers): { cancel(): void } {
    const key = `${address}:${port}`;
    this.dials.push(key);
    const place = this.places.get(key) ?? this.places.get(address) ?? this.elsewhere;
    const later = setImmediate(() => {
      if (typeof place === 'function') {
        const channel = new FarChannel(place);
        this.channels.push(channel);
        handlers.opened(channel);
      } else if (place === 'no-upstream') {
        handlers.failed({ reason: 'network-unreachable', message: 'no bastion', upstream: true });
      } else if (place === 'no-bastion') {
        handlers.failed({ reason: 'host-unreachable', message: 'not connected', absent: true });
      } else if (place !== 'silent') handlers.failed({ reason: place, message: place });
    });
    return {
      cancel: () => {
        this.cancelled++;
        clearImmediate(later);
      },
    };
  }
}

/** A channel to a resolver. */
export class FarChannel implements Channel {
  readonly asked: Buffer[] = [];
  aborted = false;
  readonly #resolve: Resolve;
  #source: ByteSource | undefined;
  #sink: ByteSink | undefined;
  #closed: ((end: ChannelEnd) => void) | undefined;
  #bytes = Buffer.alloc(0);

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  start(source: ByteSource, sink: ByteSink, closed: (end: ChannelEnd) => void): void {
    this.#source = source;
    this.#sink = sink;
    this.#closed = closed;
    this.sourceReady();
  }

  sourceReady(): void {
    for (let chunk = this.#source!.take(7); chunk !== undefined; chunk = this.#source!.take(7)) {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#source!.taken(chunk.length);
    }
    while (this.#bytes.length >= 2 && this.#bytes.length >= 2 + this.#bytes.readUInt16BE()) {
      const end = 2 + this.#bytes.readUInt16BE();
      const query = Buffer.from(this.#bytes.subarray(2, end));
      this.#bytes = this.#bytes.subarray(end);
      this.asked.push(query);
      const answer = this.#resolve(query);
      if (answer !== undefined) setImmediate(() => this.say(answer));
    }
  }

  sinkDrained(): void {}

  abort(): void {
    this.aborted = true;
  }

  say(...messages: Uint8Array[]): void {
    if (this.aborted) return;
    for (const message of messages) {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      this.#sink!.write(Buffer.concat([length, message]));
    }
  }

  /** The resolver closes it. */
  close(): void {
    this.#sink!.end();
    this.#closed!('finished');
  }
}

/** A resolver that answers all questions so, with `text` behind the question. */
export function resolver(text: string, rcode = 0): Resolve {
  return (query) => {
    const answer = Buffer.concat([query, Buffer.from(text)]);
    answer[2] = 0x81;
    answer[3] = 0x80 | rcode;
    return answer;
  };
}

/** Lets everything happen that needs no time. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
}
