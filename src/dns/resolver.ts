/** One resolver as the relay sees it: a channel that many questions share, and the questions. */
import type { Channel, Dial, Dialer } from '../core/dialer.ts';
import type { UdpDatagram } from '../core/datagram.ts';
import { DNS_IDLE_MS, DNS_QUERY_DEADLINE_MS } from '../core/limits.ts';
import { MessageSink, MessageSource } from './framing.ts';
import { answerSize, failure, fit, idOf, setId, type Message } from './message.ts';

interface Query {
  readonly datagram: UdpDatagram;
  readonly message: Message;
  readonly timer: NodeJS.Timeout;
  /** Connections it was sent by: it is sent again, once, when one is closed before it is answered. */
  sent: number;
}

const IDS = 0x1_0000;
const SENDS = 2;

export class Resolver {
  readonly #dialer: Dialer;
  readonly #queries = new Map<number, Query>();
  readonly #forget: () => void;
  #dial: Dial | undefined;
  #channel: Channel | undefined;
  #source = new MessageSource();
  #idle: NodeJS.Timeout | undefined;
  #nextId = Math.floor(Math.random() * IDS);
  #heard = false;
  #waitingBytes = 0;

  /** `forget` is called when nothing is asked any more and the channel is closed. */
  constructor(dialer: Dialer, forget: () => void) {
    this.#dialer = dialer;
    this.#forget = forget;
  }

  get outstanding(): number {
    return this.#queries.size;
  }

  /** Bytes of the questions that wait for their answers. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  ask(datagram: UdpDatagram, message: Message): void {
    clearTimeout(this.#idle);
    while (this.#queries.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % IDS;
    const id = this.#nextId;
    this.#nextId = (id + 1) % IDS;
    const timer = setTimeout(() => this.#late(id), DNS_QUERY_DEADLINE_MS);
    const query: Query = { datagram, message, timer, sent: 0 };
    this.#queries.set(id, query);
    this.#waitingBytes += datagram.payload.length;
    if (this.#channel === undefined) this.#connect(datagram);
    else this.#send(id, query);
  }

  close(): void {
    clearTimeout(this.#idle);
    for (const query of this.#queries.values()) clearTimeout(query.timer);
    this.#queries.clear();
    this.#waitingBytes = 0;
    this.#dial?.cancel();
    this.#dial = undefined;
    const channel = this.#channel;
    this.#channel = undefined;
    channel?.abort();
    this.#forget();
  }

  #connect({ destination, source }: UdpDatagram): void {
    this.#dial ??= this.#dialer.dial(destination, source, {
      opened: (channel) => this.#opened(channel),
      failed: () => {
        this.#dial = undefined;
        for (const id of this.#queries.keys()) this.#fail(id);
        this.close();
      },
    });
  }

  #opened(channel: Channel): void {
    this.#dial = undefined;
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
    const copy = Uint8Array.from(query.datagram.payload);
    setId(copy, id);
    this.#source.push(copy);
    this.#channel?.sourceReady();
  }

  #answered(answer: Uint8Array): void {
    this.#heard = true;
    const query = this.#queries.get(idOf(answer));
    if (query === undefined) return;
    this.#remove(idOf(answer));
    const reply = fit(answer, answerSize(query.message));
    if (reply !== undefined) {
      setId(reply, idOf(query.datagram.payload));
      query.datagram.answer(reply);
    }
    this.#rest();
  }

  /** The resolver closed the channel (RFC 7766, 6.2.4), or it was lost. */
  #lost(channel: Channel): void {
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    channel.abort();
    for (const [id, query] of this.#queries) if (query.sent >= SENDS) this.#fail(id);
    const [waiting] = this.#queries.values();
    if (waiting === undefined) this.close();
    else this.#connect(waiting.datagram);
  }

  #late(id: number): void {
    this.#fail(id);
    // Nothing at all came: the connection is dead, and the next question takes a new one.
    if (!this.#heard && this.#channel !== undefined) this.#lost(this.#channel);
    this.#heard = false;
    this.#rest();
  }

  #fail(id: number): void {
    const query = this.#queries.get(id);
    if (query === undefined) return;
    this.#remove(id);
    query.datagram.answer(failure(query.datagram.payload, query.message));
  }

  #remove(id: number): void {
    const query = this.#queries.get(id);
    if (query === undefined) return;
    clearTimeout(query.timer);
    this.#waitingBytes -= query.datagram.payload.length;
    this.#queries.delete(id);
  }

  #rest(): void {
    if (this.#queries.size > 0) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.close(), DNS_IDLE_MS);
  }
}
