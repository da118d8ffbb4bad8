/** The bytes of one flow through a socket of our own, both ways. */
import type net from 'node:net';
import type { Channel, ChannelEnd } from '../core/dialer.ts';
import { DIRECT_QUANTUM_BYTES, DIRECT_SEND_QUEUE_BYTES, FLOW_SEND_HIGH_WATER_BYTES } from '../core/limits.ts';
import type { ByteSink, ByteSource } from '../core/stream.ts';

/** A connected socket, made with `allowHalfOpen` and with an `onread` that calls `received`. */
export class DirectChannel implements Channel {
  readonly #socket: net.Socket;
  #source: ByteSource | undefined;
  #sink: ByteSink | undefined;
  #closed: ((end: ChannelEnd) => void) | undefined;
  #endSent = false;
  #endReceived = false;

  constructor(socket: net.Socket) {
    this.#socket = socket;
  }

  start(source: ByteSource, sink: ByteSink, closed: (end: ChannelEnd) => void): void {
    this.#source = source;
    this.#sink = sink;
    this.#closed = closed;
    const socket = this.#socket;
    socket.on('end', () => {
      this.#endReceived = true;
      this.#sink?.end();
    });
    // An error, ECONNRESET mostly, comes before it, and has its listener from the dial.
    socket.on('close', () => {
      this.#detach()?.(this.#endSent && this.#endReceived ? 'finished' : 'reset-by-peer');
    });
    this.#pump();
  }

  sourceReady(): void {
    this.#pump();
  }

  sinkDrained(): void {
    if (!this.#socket.destroyed) this.#socket.resume();
  }

  abort(): void {
    const closed = this.#detach();
    this.#socket.resetAndDestroy();
    // Not called from inside `abort`, so that the caller's own bookkeeping comes first.
    if (closed !== undefined) process.nextTick(closed, 'aborted' satisfies ChannelEnd);
  }

  /** Takes a view of the receive buffer; false pauses the socket until the sink has drained. */
  received(data: Uint8Array): boolean {
    if (this.#sink === undefined) return true;
    return this.#sink.write(data) <= FLOW_SEND_HIGH_WATER_BYTES;
  }

  readonly #written = (): void => this.#pump();

  #pump(): void {
    const socket = this.#socket;
    const source = this.#source;
    if (source === undefined || this.#endSent || socket.destroyed) return;
    while (socket.writableLength < DIRECT_SEND_QUEUE_BYTES) {
      const chunk = source.take(DIRECT_QUANTUM_BYTES);
      if (chunk === undefined) {
        if (!source.ended) return;
        this.#endSent = true;
        socket.end();
        return;
      }
      const bytes = chunk.length;
      // A copy, since the socket may keep it for longer than the view is valid.
      socket.write(Buffer.from(chunk), this.#written);
      source.taken(bytes);
    }
  }

  /** Lets go of both halves; the answer is to be called with the end. */
  #detach(): ((end: ChannelEnd) => void) | undefined {
    const closed = this.#closed;
    this.#source = undefined;
    this.#sink = undefined;
    this.#closed = undefined;
    return closed;
  }
}
