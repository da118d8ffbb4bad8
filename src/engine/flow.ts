/** A flow as JavaScript holds it: a number of the native engine, and the two halves of its bytes. */
import type { Flow, FlowHandlers, FlowTuple, RejectReason } from '../core/flow.ts';
import type { NativeEngine } from '../core/native.ts';
import type { ByteSink, ByteSource, NativeHalf } from '../core/stream.ts';
import { reasonNumber } from './events.ts';

/** `take` packs offset and length in one number: offset * 2^17 + length. */
const LENGTHS = 2 ** 17;

/** Source, sink and flow are one object, since there is one for every connection of the application. */
export class EngineFlow implements Flow, ByteSource, ByteSink {
  readonly id: number;
  readonly tuple: FlowTuple;
  handlers: FlowHandlers | undefined;
  bytesOut = 0;
  bytesIn = 0;
  readonly #native: NativeEngine;
  readonly #memory: Uint8Array;
  readonly #owe: () => void;
  #ended = false;

  constructor(id: number, tuple: FlowTuple, native: NativeEngine, memory: Uint8Array, owe: () => void) {
    this.id = id;
    this.tuple = tuple;
    this.#native = native;
    this.#memory = memory;
    this.#owe = owe;
  }

  get nativeSource(): NativeHalf {
    return {
      engine: this.#native,
      flow: this.id,
      moved: (bytes, ended) => {
        this.bytesOut += bytes;
        if (ended) this.#ended = true;
        this.#owe();
      },
    };
  }

  get nativeSink(): NativeHalf {
    return {
      engine: this.#native,
      flow: this.id,
      moved: (bytes) => {
        this.bytesIn += bytes;
        this.#owe();
      },
    };
  }

  get source(): ByteSource {
    return this;
  }

  get sink(): ByteSink {
    return this;
  }

  accept(): void {
    this.#owe();
    this.#native.accept(this.id);
  }

  reject(reason: RejectReason): void {
    this.#owe();
    this.#native.reject(this.id, reasonNumber(reason));
  }

  drop(): void {
    this.#owe();
    this.#native.drop(this.id);
  }

  abort(): void {
    this.#owe();
    this.#native.abort(this.id);
  }

  take(max: number): Uint8Array | undefined {
    const packed = this.#native.take(this.id, max);
    const length = packed % LENGTHS;
    if (length === 0) {
      if (!this.#ended) this.#ended = this.#native.ended(this.id);
      return undefined;
    }
    const offset = (packed - length) / LENGTHS;
    return this.#memory.subarray(offset, offset + length);
  }

  taken(bytes: number): void {
    this.bytesOut += bytes;
    this.#owe();
    if (this.#native.taken(this.id, bytes)) this.#ended = true;
  }

  get ended(): boolean {
    return this.#ended;
  }

  write(chunk: Uint8Array): number {
    this.bytesIn += chunk.length;
    this.#owe();
    return this.#native.write(this.id, chunk);
  }

  end(): void {
    this.#owe();
    this.#native.end(this.id);
  }
}
