/**
 * The two halves of a byte conversation, seen from the part that moves the bytes.
 *
 * A `Flow` (engine side) and a `Channel` (upstream side) are joined by handing each one half of the
 * other. Bytes towards the upstream are pulled, so that the upstream's scheduler decides who may
 * send and when; bytes towards the app are pushed, since they arrive in a receive buffer that is
 * used again as soon as the push returns.
 */
import type { NativeEngine } from './native.ts';

/**
 * A half whose bytes native code can move by itself. An upstream that has native code too passes by
 * `take` or `write`, and tells what it moved, so that JavaScript's own accounts stay true.
 */
export interface NativeHalf {
  readonly engine: NativeEngine;
  /** The engine's number of the flow. */
  readonly flow: number;
  /** `bytes` were moved. `ended`, of a source: the half-close may be passed on. */
  moved(bytes: number, ended: boolean): void;
}

/** Bytes that wait to be taken. Owned by the producer; the consumer pulls. */
export interface ByteSource {
  /**
   * Takes the next chunk, at most `max` bytes long, or returns `undefined` when nothing waits.
   * The view is valid until the next call of `take` or `taken` on this source; the memory behind it
   * may be shared with native code and is never to be kept.
   */
  take(max: number): Uint8Array | undefined;
  /**
   * Tells that `bytes` of what `take` gave have been passed on. Only this opens the sender's window,
   * which is what makes backpressure reach from end to end.
   */
  taken(bytes: number): void;
  /** True when the producer will add nothing more and nothing waits: the half-close may be passed on. */
  readonly ended: boolean;
  readonly nativeSource?: NativeHalf;
}

/** Where bytes are pushed. Owned by the consumer; the producer pushes and heeds the answer. */
export interface ByteSink {
  /**
   * Copies `chunk` before it returns. The answer is the number of bytes now queued; a producer that
   * sees it above the sink's high-water mark stops inviting more until it is told of the drain.
   */
  write(chunk: Uint8Array): number;
  /** No more bytes follow: half-close, sent after what is queued. */
  end(): void;
  readonly nativeSink?: NativeHalf;
}
