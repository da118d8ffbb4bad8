import { formatEndpoint } from '../core/address.ts';
import type { Endpoint } from '../core/flow.ts';
import {
  BREAKER_PROBE_MS,
  BREAKER_TARGETS_MAX,
  BREAKER_UNANSWERED,
  BREAKER_WAIT_MS,
} from '../core/limits.ts';

interface Silence {
  /** Opens in a row that were given up unanswered. */
  unanswered: number;
  /** When the next open may try, once there are too many. */
  probeAt: number;
}

/**
 * Targets that swallow every SYN. An open that nobody waits for cannot be taken back (RFC 4254 has no
 * cancel) and holds a file descriptor of sshd's for about two minutes, so after some opens in a row
 * without an answer the others fail at once, and one at a time looks whether the target is back.
 */
export class Breaker {
  /** By target, in the order of their last silence. */
  readonly #silent = new Map<string, Silence>();
  readonly #now: () => number;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#silent.size;
  }

  /** True when an open is not to be tried now. False in that state lets one through. */
  holds(target: Endpoint): boolean {
    if (this.#silent.size === 0) return false;
    const silence = this.#silent.get(formatEndpoint(target));
    if (silence === undefined || silence.unanswered < BREAKER_UNANSWERED) return false;
    if (this.#now() < silence.probeAt) return true;
    silence.probeAt = this.#now() + BREAKER_PROBE_MS;
    return false;
  }

  /** An open was given up after `waitedMs`. A short wait says nothing of the target. */
  unanswered(target: Endpoint, waitedMs: number): void {
    if (waitedMs < BREAKER_WAIT_MS) return;
    const key = formatEndpoint(target);
    const silence = this.#silent.get(key) ?? { unanswered: 0, probeAt: 0 };
    silence.unanswered++;
    if (silence.unanswered === BREAKER_UNANSWERED) silence.probeAt = this.#now() + BREAKER_PROBE_MS;
    this.#silent.delete(key);
    this.#silent.set(key, silence);
    if (this.#silent.size <= BREAKER_TARGETS_MAX) return;
    for (const oldest of this.#silent.keys()) {
      this.#silent.delete(oldest);
      return;
    }
  }

  /** The target, or a router on the way to it, answered: yes or no, and however late. */
  answered(target: Endpoint): void {
    if (this.#silent.size > 0) this.#silent.delete(formatEndpoint(target));
  }

  clear(): void {
    this.#silent.clear();
  }
}
