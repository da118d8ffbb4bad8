/**
 * A connection whose bytes native code moves: JavaScript's side of native/ssh/link.h, which takes the
 * socket over once the handshake is done.
 */
import type { Native, NativeEngine, PacketOpener, PacketSealer, SshLink } from '../core/native.ts';

const NEWS_ENDED = 1;
const NEWS_DRAINED = 2;
const NEWS_DAMAGED = 4;
const NEWS_OVERRUN = 5;

const LENGTH_FIELD = 4;

export interface LinkEvents {
  /** A message that is not the data of a joined channel. */
  message(payload: Buffer): void;
  /** The application has closed its half of the channel's flow; all that it sent, and an EOF, are under way. */
  ended(channel: number): void;
  /** The server sent more than it was invited to. */
  overrun(channel: number): void;
  /** The queue was sent. */
  drained(): void;
  /** The socket is at its end, or what came is not what the server's key protected. */
  failed(error: Error): void;
}

export class Link {
  readonly native: SshLink;
  readonly #events: LinkEvents;
  #flushPlanned = false;
  #closed = false;
  readonly #flush = (): void => this.flush();

  /** Uses a duplicate of `fd`; nobody else may read or write it from now on. */
  constructor(
    native: Native,
    engine: NativeEngine,
    fd: number,
    base: number,
    keys: { readonly sealer: PacketSealer; readonly opener: PacketOpener },
    events: LinkEvents,
  ) {
    this.#events = events;
    this.native = new native.SshLink(engine, fd, base, keys.sealer, keys.opener, () => this.#read());
  }

  /** Queues a packet; all of a turn leave together. */
  submit(packet: Uint8Array): void {
    if (this.#closed) return;
    if (!this.native.submit(packet)) throw new Error('sealing a packet');
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    process.nextTick(this.#flush);
  }

  flush(): void {
    this.#flushPlanned = false;
    if (!this.#closed) this.native.flush();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.native.close();
  }

  #read(): void {
    // Messages first: a channel's last data and its end stand in the order of their arrival.
    while (!this.#closed) {
      const some = this.#readMessages();
      const heard = this.#closed ? 0 : this.native.poll();
      if (heard > 0) this.#tell(this.native.news.slice(0, 2 * heard));
      if (!some && heard === 0) return;
    }
  }

  /** False when there were none. */
  #readMessages(): boolean {
    const messages = this.native.messages();
    for (let at = 0; at < messages.length && !this.#closed;) {
      const start = at + LENGTH_FIELD;
      at = start + messages.readUInt32LE(at);
      this.#events.message(messages.subarray(start, at));
    }
    return messages.length > 0;
  }

  /** What came before the end may have been received since messages were read: it is not lost. */
  #fail(message: string): void {
    while (!this.#closed && this.#readMessages());
    if (!this.#closed) this.#events.failed(new Error(message));
  }

  #tell(news: Uint32Array): void {
    for (let at = 0; at < news.length && !this.#closed; at += 2) {
      const kind = news[at];
      const channel = news[at + 1]!;
      if (kind === NEWS_ENDED) this.#events.ended(channel);
      else if (kind === NEWS_OVERRUN) this.#events.overrun(channel);
      else if (kind === NEWS_DRAINED) this.#events.drained();
      else if (kind === NEWS_DAMAGED) this.#fail('Message authentication failed');
      else this.#fail('the bastion closed the connection');
    }
  }
}
