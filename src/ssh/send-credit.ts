import { SSH_IN_FLIGHT_FLOOR_BYTES, SSH_QUEUE_DELAY_MS, SSH_QUEUE_DELAY_PERIOD_MS } from '../core/limits.ts';

/** Growth and shrinkage of the limit after one round: slow enough not to swing, quick enough that a
 * path of 100 ms is filled within a second. */
const GROW = 1.5;
const SHRINK = 0.85;

/** A queue may add this part of the path's own delay before it counts as one: paths are never still. */
const JITTER = 0.125;

/**
 * How much of a channel may be on its way to the target at once, while others use the connection.
 *
 * The server's window alone (2 MiB with OpenSSH) lets a bulk channel fill the socket that all channels
 * share, and every other flow waits behind it. Alone on the connection a channel has all of it: a short
 * queue costs throughput where the processor is the limit (measured: 0.8x), and nobody waits. The server invites more as the target takes bytes, which
 * tells how long they were under way; the limit grows while that time stays near the shortest seen, and
 * shrinks when it shows a queue (delay-based, as TCP Vegas: Brakmo and Peterson, 1994).
 */
export class SendCredit {
  /** The server's window: bytes that it would still take. */
  #window: number;
  readonly #now: () => number;
  readonly #shared: () => boolean;
  #sent = 0;
  #taken = 0;
  #limit = SSH_IN_FLIGHT_FLOOR_BYTES;
  #shortest = Infinity;
  #shortestSince = 0;
  /** A byte whose way is timed: it was sent when the limit was reached. */
  #timed: { readonly at: number; readonly offset: number } | undefined;

  /** `shared` tells whether other channels use the connection now; `now` is in milliseconds. */
  constructor(window: number, shared: () => boolean, now: () => number) {
    this.#window = window;
    this.#shared = shared;
    this.#now = now;
  }

  /** Bytes that may be sent now. */
  get available(): number {
    if (!this.#shared()) return this.#window;
    return Math.max(0, Math.min(this.#window, this.#limit - (this.#sent - this.#taken)));
  }

  /** `bytes` were sent; `more` tells whether further bytes wait. */
  use(bytes: number, more: boolean): void {
    this.#sent += bytes;
    this.#window -= bytes;
    // Only a sender that never pauses learns something: the server answers in steps, and a pause would
    // count as delay.
    if (!more) this.#timed = undefined;
    else if (this.#timed === undefined && this.available === 0) {
      this.#timed = { at: this.#now(), offset: this.#sent };
    }
  }

  /** The server took `bytes` and invites as many. */
  adjusted(bytes: number): void {
    this.#window += bytes;
    // Not more than was sent: a server may also widen its window.
    this.#taken = Math.min(this.#sent, this.#taken + bytes);
    const timed = this.#timed;
    if (timed === undefined || this.#taken < timed.offset) return;
    this.#timed = undefined;
    this.#learn(this.#now() - timed.at);
  }

  #learn(delay: number): void {
    const now = this.#now();
    if (delay < this.#shortest || now - this.#shortestSince > SSH_QUEUE_DELAY_PERIOD_MS) {
      this.#shortest = delay;
      this.#shortestSince = now;
    }
    const queued = delay - this.#shortest;
    const calm = queued <= SSH_QUEUE_DELAY_MS + this.#shortest * JITTER;
    // Beyond the server's window there is nothing to gain.
    const most = this.#window + this.#sent - this.#taken;
    const limit = Math.min(most, Math.floor(this.#limit * (calm ? GROW : SHRINK)));
    this.#limit = Math.max(SSH_IN_FLIGHT_FLOOR_BYTES, limit);
  }
}
