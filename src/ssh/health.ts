import type { Endpoint } from '../core/flow.ts';
import { HEALTH_SICK_MS, HEALTH_UNANSWERED, HEALTH_WAIT_MS } from '../core/limits.ts';

/**
 * Whether a bastion that is connected also opens channels. One target that swallows every SYN says nothing
 * of the bastion; several of them in a row, while nothing else is answered either, do.
 */
export class Health {
  readonly #now: () => number;
  readonly #hosts = new Set<string>();
  #unanswered = 0;
  #sickUntil = -Infinity;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Until when, of that clock, connects had better go elsewhere. */
  get sickUntil(): number {
    return this.#sickUntil;
  }

  /** An open was answered, yes or no. */
  answered(): void {
    this.#unanswered = 0;
    this.#hosts.clear();
    this.#sickUntil = Math.min(this.#sickUntil, this.#now());
  }

  /** An open was given up after `waitedMs`. Past the time, one more is enough. */
  unanswered(target: Endpoint, waitedMs: number): void {
    if (waitedMs < HEALTH_WAIT_MS) return;
    this.#unanswered++;
    if (this.#hosts.size < 2) this.#hosts.add(target.address);
    if (this.#unanswered < HEALTH_UNANSWERED || this.#hosts.size < 2) return;
    this.#sickUntil = this.#now() + HEALTH_SICK_MS;
  }
}
