import { RELAY_DELAY_PERIOD_MS } from '../core/limits.ts';

const MODULUS = 2 ** 32;

/**
 * How much later than the fastest of the last minutes something came, which is what it spent in queues. The
 * clocks of the two ends need not agree, only to run alike (RFC 6817 section 3.4.2 measures so).
 */
export class Delay {
  #least: number | undefined;
  #before: number | undefined;
  #since = 0;

  /** Of what was sent at `sent` by the other end's clock, modulo 2^32, and came at `now`; in milliseconds. */
  of(sent: number, now: number): number {
    let took = (now - sent) % MODULUS;
    if (took < 0) took += MODULUS;
    if (took >= MODULUS / 2) took -= MODULUS;
    if (this.#least === undefined || now - this.#since > RELAY_DELAY_PERIOD_MS) {
      this.#before = this.#least;
      this.#least = took;
      this.#since = now;
    }
    this.#least = Math.min(this.#least, took);
    return took - Math.min(this.#least, this.#before ?? took);
  }
}
