import type net from 'node:net';

import { SSH_CHANNEL_PACKET_BYTES, SSH_SEND_RING_BYTES } from '../core/limits.ts';

/** Bytes that one packet adds to its data at most: header, padding and tag. */
const PACKET_OVERHEAD = 64;

/**
 * Memory for packets on their way to the socket, used over and over. What the socket has not yet sent
 * is always the last that was written, so anything older than its queue is free.
 */
export class SendRing {
  readonly #socket: net.Socket;
  readonly #ring: Buffer = Buffer.allocUnsafeSlow(SSH_SEND_RING_BYTES);
  #head = 0;
  /** What the last `reserve` gave out. */
  #memory: Buffer = this.#ring;

  constructor(socket: net.Socket) {
    this.#socket = socket;
  }

  /** Room for packets with `bytes` of data. */
  reserve(bytes: number): { readonly memory: Buffer; readonly offset: number } {
    const need = bytes + PACKET_OVERHEAD * (2 + Math.ceil(bytes / SSH_CHANNEL_PACKET_BYTES));
    const wraps = this.#head + need > this.#ring.length;
    const skipped = wraps ? this.#ring.length - this.#head : 0;
    if (this.#socket.writableLength + skipped + need > this.#ring.length) {
      // The scheduler stops far below this; should it not, the bytes get memory of their own.
      this.#memory = Buffer.allocUnsafeSlow(need);
      return { memory: this.#memory, offset: 0 };
    }
    if (wraps) this.#head = 0;
    this.#memory = this.#ring;
    return { memory: this.#ring, offset: this.#head };
  }

  /** The first `written` bytes of what `reserve` gave, which now belong to the socket. */
  commit(written: number): Buffer {
    if (this.#memory !== this.#ring) return this.#memory.subarray(0, written);
    const start = this.#head;
    this.#head += written;
    return this.#ring.subarray(start, this.#head);
  }
}
