/** Questions by TCP (RFC 7766): answered as they come, in any order, by the same server. */
import type { Flow } from '../core/flow.ts';
import {
  DNS_STREAM_IDLE_MS,
  DNS_STREAMS_MAX,
  FLOW_SEND_HIGH_WATER_BYTES,
  SSH_QUANTUM_BYTES,
} from '../core/limits.ts';
import { MessageSink } from './framing.ts';
import type { DnsServer } from './server.ts';

/** The half of a connection that we send by. */
export interface Outlet {
  /** Bytes that wait to be sent afterwards. */
  write(frame: Uint8Array): number;
  /** All was answered and nothing more is asked. */
  end(): void;
  /** Ends it at once. */
  abort(): void;
}

/** One connection of a client. Takes its bytes, and gives each question an answer while the client reads. */
export class DnsStream {
  readonly #server: DnsServer;
  readonly #client: string;
  readonly #resolver: string | undefined;
  readonly #outlet: Outlet;
  readonly #sink: MessageSink;
  #idle: NodeJS.Timeout | undefined;
  #waiting = 0;
  #askedAll = false;
  #over = false;

  constructor(server: DnsServer, client: string, resolver: string | undefined, outlet: Outlet) {
    this.#server = server;
    this.#client = client;
    this.#resolver = resolver;
    this.#outlet = outlet;
    this.#sink = new MessageSink(
      (message) => this.#asked(message),
      () => {},
    );
    this.#rest();
  }

  data(chunk: Uint8Array): void {
    this.#sink.write(chunk);
  }

  /** The client asks no more; it may still wait for answers. */
  ended(): void {
    this.#askedAll = true;
    this.#finish();
  }

  /** The connection is gone. */
  closed(): void {
    this.#over = true;
    clearTimeout(this.#idle);
  }

  #asked(message: Uint8Array): void {
    clearTimeout(this.#idle);
    this.#waiting++;
    const before = this.#waiting;
    let answered = false;
    this.#server.accept({
      payload: Uint8Array.from(message),
      client: this.#client,
      resolver: this.#resolver,
      datagram: false,
      answer: (answer) => {
        answered = true;
        this.#waiting--;
        this.#send(answer);
      },
    });
    // What is no question gets no answer, and its sender no further hearing.
    if (!answered && this.#waiting === before && message.length < 12) this.#abort();
  }

  #send(answer: Uint8Array): void {
    if (this.#over) return;
    const frame = new Uint8Array(2 + answer.length);
    frame.set([answer.length >> 8, answer.length & 0xff]);
    frame.set(answer, 2);
    // A client that asks and does not read is let go.
    if (this.#outlet.write(frame) > FLOW_SEND_HIGH_WATER_BYTES) this.#abort();
    else if (this.#waiting === 0) this.#rest();
    this.#finish();
  }

  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#abort(), DNS_STREAM_IDLE_MS);
  }

  #finish(): void {
    if (!this.#askedAll || this.#waiting > 0 || this.#over) return;
    this.closed();
    this.#outlet.end();
  }

  #abort(): void {
    if (this.#over) return;
    this.closed();
    this.#outlet.abort();
  }
}

/** Answers TCP flows to port 53. */
export class DnsFlows {
  readonly #server: DnsServer;
  readonly #self: string | undefined;
  #open = 0;

  /** `self`: the address that means netproxy itself, and so no resolver. */
  constructor(server: DnsServer, self: string | undefined) {
    this.#server = server;
    this.#self = self;
  }

  /** Takes a flow that waits for its answer. */
  accept(flow: Flow): void {
    const { source, destination } = flow.tuple;
    if (this.#open >= DNS_STREAMS_MAX) {
      flow.handlers = { readable() {}, drained() {}, closed() {} };
      flow.reject('refused');
      return;
    }
    this.#open++;
    const client = `tcp ${source.address} ${source.port}`;
    const resolver = destination.address === this.#self ? undefined : destination.address;
    const stream = new DnsStream(this.#server, client, resolver, {
      write: (frame) => flow.sink.write(frame),
      end: () => flow.sink.end(),
      abort: () => flow.abort(),
    });
    flow.handlers = {
      readable: () => read(flow, stream),
      drained() {},
      closed: () => {
        this.#open--;
        stream.closed();
      },
    };
    flow.accept();
  }
}

function read(flow: Flow, stream: DnsStream): void {
  for (;;) {
    const chunk = flow.source.take(SSH_QUANTUM_BYTES);
    if (chunk === undefined) break;
    const bytes = chunk.length;
    // Copied: what is asked may make the engine move its memory on.
    stream.data(Uint8Array.from(chunk));
    flow.source.taken(bytes);
  }
  if (flow.source.ended) stream.ended();
}
