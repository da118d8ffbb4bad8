/** Frames between netproxy and its helper; native/helper/protocol.h has what is in them. */

export const KIND = { hello: 1, run: 2, read: 3, spawn: 4, signal: 5 } as const;

export interface Frame {
  readonly kind: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** Length, id and kind, each in four bytes. Both processors that there are builds for are little-endian. */
const HEADER_BYTES = 12;

export function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** Each with a NUL behind it. Throws a RangeError when one has a NUL in it, as no argument can. */
export function strings(list: readonly string[]): Buffer {
  if (list.some((text) => text.includes('\0'))) throw new RangeError('an argument holds a NUL');
  return Buffer.from(list.map((text) => `${text}\0`).join(''));
}

export function frameOf(kind: number, id: number, payload: Uint8Array): Buffer {
  return Buffer.concat([number32(payload.length), number32(id), number32(kind), payload]);
}

/** Puts frames together from what comes in. */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  write(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    for (;;) {
      if (this.#bytes < HEADER_BYTES) return;
      const first = this.#parts[0]!;
      const header = first.length >= HEADER_BYTES ? first : this.#join();
      const length = header.readUInt32LE(0);
      if (this.#bytes < HEADER_BYTES + length) return;
      const all = this.#join();
      this.#parts = [all.subarray(HEADER_BYTES + length)];
      this.#bytes -= HEADER_BYTES + length;
      this.#onFrame({
        kind: all.readUInt32LE(8),
        id: all.readUInt32LE(4),
        payload: all.subarray(HEADER_BYTES, HEADER_BYTES + length),
      });
    }
  }

  #join(): Buffer {
    const all = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [all];
    return all;
  }
}
