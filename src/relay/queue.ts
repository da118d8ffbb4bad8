import { RELAY_QUEUE_BYTES } from '../core/limits.ts';
import type { RelayFlow } from './flow.ts';

/** A datagram on its way to the relay. */
export interface Waiting {
  readonly flow: RelayFlow;
  readonly flags: number;
  readonly payload: Uint8Array;
  /** When it is too old to be sent; milliseconds of a monotonic clock. */
  readonly until: number;
}

/** Datagrams in the order in which they came; bounded in bytes. */
export class DatagramQueue {
  #waiting: (Waiting | undefined)[] = [];
  #head = 0;
  #bytes = 0;

  get size(): number {
    return this.#waiting.length - this.#head;
  }

  /** Gives how many of the oldest had to make room. */
  push(datagram: Waiting): number {
    this.#waiting.push(datagram);
    this.#bytes += datagram.payload.length;
    let dropped = 0;
    for (; this.#bytes > RELAY_QUEUE_BYTES && this.size > 1; dropped++) this.shift();
    return dropped;
  }

  get first(): Waiting | undefined {
    return this.#waiting[this.#head];
  }

  shift(): Waiting | undefined {
    const datagram = this.#waiting[this.#head];
    if (datagram === undefined) return undefined;
    // So that the payload is not held by the part of the array that is done with.
    this.#waiting[this.#head++] = undefined;
    this.#bytes -= datagram.payload.length;
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    } else if (this.#head > 4096) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return datagram;
  }
}
