import { ROUND_TRIP_WEIGHT, SSH_KEEPALIVE_INTERVAL_MS, SSH_KEEPALIVE_MISSES } from '../core/limits.ts';

/**
 * Notices a peer that went away without a word. Any byte received counts as life. Unanswered probes
 * are counted rather than time, so that a process that was itself stopped does not blame its peer.
 */
export class Keepalive {
  readonly #received: () => number;
  readonly #probe: () => void;
  readonly #dead: () => void;
  #seen = -1;
  #unanswered = 0;
  readonly #misses: number;
  readonly #timer: NodeJS.Timeout;
  /** When the probes under way were sent, in milliseconds. */
  readonly #sentAt: number[] = [];
  #roundTripMs: number | undefined;
  readonly #measured: (ms: number) => void;

  /** `received` counts bytes; `probe` sends something that must be answered; `measured` gets each round trip. */
  constructor(
    received: () => number,
    probe: () => void,
    dead: () => void,
    intervalMs: number = SSH_KEEPALIVE_INTERVAL_MS,
    misses: number = SSH_KEEPALIVE_MISSES,
    measured: (ms: number) => void = () => {},
  ) {
    this.#measured = measured;
    this.#misses = misses;
    this.#received = received;
    this.#probe = probe;
    this.#dead = dead;
    this.#timer = setInterval(() => this.#tick(), intervalMs);
    this.#send();
  }

  /** Smoothed, in milliseconds; undefined before the first answer. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** A probe was answered; answers come in order (RFC 4254 section 4). */
  answered(): void {
    const sentAt = this.#sentAt.shift();
    if (sentAt === undefined) return;
    const sample = performance.now() - sentAt;
    this.#measured(sample);
    const before = this.#roundTripMs ?? sample;
    this.#roundTripMs = before + (sample - before) * ROUND_TRIP_WEIGHT;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const received = this.#received();
    if (received !== this.#seen) {
      this.#seen = received;
      this.#unanswered = 0;
    } else if (++this.#unanswered >= this.#misses) {
      this.stop();
      this.#dead();
      return;
    }
    this.#send();
  }

  #send(): void {
    this.#sentAt.push(performance.now());
    // A server that sends much but answers no probe.
    if (this.#sentAt.length > this.#misses) this.#sentAt.shift();
    this.#probe();
  }
}
