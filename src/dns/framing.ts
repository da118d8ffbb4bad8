/** DNS over TCP: each message after its length in two bytes (RFC 1035, 4.2.2; RFC 7766, 8). */
import type { ByteSink, ByteSource } from '../core/stream.ts';

/** The messages that wait to be sent. */
export class MessageSource implements ByteSource {
  readonly #chunks: Buffer[] = [];
  readonly ended = false;

  push(message: Uint8Array): void {
    const frame = Buffer.allocUnsafe(2 + message.length);
    frame.writeUInt16BE(message.length, 0);
    frame.set(message, 2);
    this.#chunks.push(frame);
  }

  take(max: number): Uint8Array | undefined {
    return this.#chunks[0]?.subarray(0, max);
  }

  taken(bytes: number): void {
    for (let left = bytes; left > 0;) {
      const first = this.#chunks[0];
      if (first === undefined) return;
      if (first.length > left) this.#chunks[0] = first.subarray(left);
      else this.#chunks.shift();
      left -= first.length;
    }
  }
}

/** Puts the messages that arrive together again. Holds less than one message. */
export class MessageSink implements ByteSink {
  #rest: Buffer = Buffer.alloc(0);
  readonly #message: (message: Buffer) => void;
  readonly #ended: () => void;

  constructor(message: (message: Buffer) => void, ended: () => void) {
    this.#message = message;
    this.#ended = ended;
  }

  write(chunk: Uint8Array): number {
    const bytes = Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 2) {
      const end = at + 2 + bytes.readUInt16BE(at);
      if (end > bytes.length) break;
      this.#message(bytes.subarray(at + 2, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return 0;
  }

  end(): void {
    this.#ended();
  }
}
