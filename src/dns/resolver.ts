/** A resolver at the far end: a channel that many questions share, out of order (RFC 7766), and the questions. */
import type { Channel, Dial, Dialer } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import { DNS_IDLE_MS, DNS_QUERY_DEADLINE_MS } from '../core/limits.ts';
import { MessageSink, MessageSource } from './framing.ts';
import { HEADER_BYTES, idOf, rcodeOf, RCODE, setId } from './message.ts';
import { answers } from './question.ts';

/** The answer as it came, or undefined when there was none in time. Called once, in a later turn. */
export type Done = (answer: Uint8Array | undefined) => void;

interface Query {
  readonly wire: Uint8Array;
  readonly questionsEnd: number;
  readonly done: Done;
  readonly timer: NodeJS.Timeout;
  /** Connections it was sent by: it is sent again, once, when one is closed before it is answered. */
  sent: number;
}

const IDS = 0x1_0000;
const SENDS = 2;
/** Whom a channel says it is for; no application's socket stands behind it. */
const ORIGIN: Endpoint = { address: '127.0.0.1', port: 0 };

export class Resolver {
  readonly endpoint: Endpoint;
  readonly #dialer: () => Dialer | undefined;
  readonly #queries = new Map<number, Query>();
  #dial: Dial | undefined;
  #channel: Channel | undefined;
  #source = new MessageSource();
  #idle: NodeJS.Timeout | undefined;
  #nextId = Math.floor(Math.random() * IDS);
  #heard = false;
  #reached = false;

  /** `dialer` gives the way there, which may change. */
  constructor(endpoint: Endpoint, dialer: () => Dialer | undefined) {
    this.endpoint = endpoint;
    this.#dialer = dialer;
  }

  get outstanding(): number {
    return this.#queries.size;
  }

  /** The last dial was answered, with yes or no: the bastion at least is there. */
  get reached(): boolean {
    return this.#reached;
  }

  /** `wire` is a query without an id, whose question ends at `questionsEnd`. */
  ask(wire: Uint8Array, questionsEnd: number, done: Done, deadlineMs: number = DNS_QUERY_DEADLINE_MS): void {
    clearTimeout(this.#idle);
    if (this.#queries.size >= IDS / 2) {
      setImmediate(done, undefined);
      return;
    }
    while (this.#queries.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % IDS;
    const id = this.#nextId;
    this.#nextId = (id + 1) % IDS;
    const timer = setTimeout(() => this.#late(id), deadlineMs);
    const query: Query = { wire, questionsEnd, done, timer, sent: 0 };
    this.#queries.set(id, query);
    if (this.#channel === undefined) this.#connect();
    else this.#send(id, query);
  }

  /** Questions that wait get no answer. */
  close(): void {
    clearTimeout(this.#idle);
    this.#dial?.cancel();
    this.#dial = undefined;
    const channel = this.#channel;
    this.#channel = undefined;
    channel?.abort();
    for (const id of this.#queries.keys()) this.#finish(id, undefined);
  }

  #connect(): void {
    if (this.#dial !== undefined) return;
    const dialer = this.#dialer();
    if (dialer === undefined) {
      setImmediate(() => this.close());
      return;
    }
    this.#dial = dialer.dial(this.endpoint, ORIGIN, {
      opened: (channel) => this.#opened(channel),
      failed: ({ absent }) => {
        this.#dial = undefined;
        this.#reached = absent !== true;
        this.close();
      },
    });
  }

  #opened(channel: Channel): void {
    this.#dial = undefined;
    this.#reached = true;
    this.#channel = channel;
    this.#source = new MessageSource();
    this.#heard = false;
    const lost = (): void => this.#lost(channel);
    const sink = new MessageSink((answer) => this.#answered(answer), lost);
    channel.start(this.#source, sink, lost);
    for (const [id, query] of this.#queries) this.#send(id, query);
    this.#rest();
  }

  #send(id: number, query: Query): void {
    query.sent++;
    const copy = Uint8Array.from(query.wire);
    setId(copy, id);
    this.#source.push(copy);
    this.#channel?.sourceReady();
  }

  #answered(answer: Uint8Array): void {
    this.#heard = true;
    const query = answer.length < HEADER_BYTES ? undefined : this.#queries.get(idOf(answer));
    if (query === undefined) return;
    if (answers(answer, query.wire, query.questionsEnd)) {
      // The memory is the channel's.
      this.#finish(idOf(answer), Uint8Array.from(answer));
    } else if (rcodeOf(answer) !== RCODE.ok) {
      // Some leave the question out of a refusal.
      this.#finish(idOf(answer), undefined);
    }
    this.#rest();
  }

  /** The resolver closed the channel (RFC 7766, 6.2.4), or it was lost. */
  #lost(channel: Channel): void {
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    channel.abort();
    for (const [id, query] of this.#queries) if (query.sent >= SENDS) this.#finish(id, undefined);
    if (this.#queries.size === 0) clearTimeout(this.#idle);
    else this.#connect();
  }

  #late(id: number): void {
    this.#finish(id, undefined);
    // Nothing at all came: the connection is dead, and the next question takes a new one.
    if (!this.#heard && this.#channel !== undefined) this.#lost(this.#channel);
    this.#heard = false;
    this.#rest();
  }

  #finish(id: number, answer: Uint8Array | undefined): void {
    const query = this.#queries.get(id);
    if (query === undefined) return;
    clearTimeout(query.timer);
    this.#queries.delete(id);
    query.done(answer);
  }

  #rest(): void {
    if (this.#queries.size > 0) return;
    clearTimeout(this.#idle);
    if (this.#channel === undefined && this.#dial === undefined) return;
    this.#idle = setTimeout(() => this.close(), DNS_IDLE_MS);
  }
}
