import { formatEndpoint } from '../core/address.ts';
import type { Endpoint } from '../core/flow.ts';
import { REFUSAL_MS, REFUSAL_PROBE_MS, REFUSALS_MAX } from '../core/limits.ts';

/**
 * Targets that the server's rules forbid (PermitOpen, AllowTcpForwarding): they are answered without
 * the server for a while. The rules know addresses and ports, so a refusal holds for exactly one of
 * each; the server does not say which rule it was, so nothing is concluded for other targets.
 */
export class Refusals {
  /** By target, in the order of their last refusal: when the next open may ask again. */
  readonly #until = new Map<string, number>();
  readonly #now: () => number;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#until.size;
  }

  /** True when the target is known to be forbidden. Past the time, one open may ask, and the rest wait for its answer. */
  holds(target: Endpoint): boolean {
    const key = formatEndpoint(target);
    const until = this.#until.get(key);
    if (until === undefined) return false;
    if (this.#now() < until) return true;
    this.#until.set(key, this.#now() + REFUSAL_PROBE_MS);
    return false;
  }

  /** The server forbade it. */
  refused(target: Endpoint): void {
    const key = formatEndpoint(target);
    this.#until.delete(key);
    this.#until.set(key, this.#now() + REFUSAL_MS);
    if (this.#until.size <= REFUSALS_MAX) return;
    for (const oldest of this.#until.keys()) {
      this.#until.delete(oldest);
      return;
    }
  }

  /** The server allowed it. */
  allowed(target: Endpoint): void {
    if (this.#until.size > 0) this.#until.delete(formatEndpoint(target));
  }

  /** Another connection may have other rules. */
  clear(): void {
    this.#until.clear();
  }
}
