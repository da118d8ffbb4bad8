/** The names by which the application came to know addresses, for rules and logs. */
import { DNS_NAMES_GRACE_MS, DNS_NAMES_MAX } from '../core/limits.ts';

interface Known {
  readonly name: string;
  readonly until: number;
}

export class NamesMap {
  /** By address in canonical text; the one told longest ago first. */
  readonly #known = new Map<string, Known>();
  readonly #now: () => number;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#known.size;
  }

  /** An answer gave the application these addresses for `name`, for `ttl` seconds. */
  learn(name: string, addresses: readonly string[], ttl: number): void {
    const until = this.#now() + ttl * 1000 + DNS_NAMES_GRACE_MS;
    for (const address of addresses) {
      this.#known.delete(address);
      this.#known.set(address, { name, until });
    }
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= DNS_NAMES_MAX) return;
      this.#known.delete(oldest);
    }
  }

  /**
   * The name whose answer last gave `address` to the application, lower case, without the closing dot;
   * undefined when none did, or its answer has long expired: programs keep addresses beyond their TTL.
   */
  nameOf(address: string): string | undefined {
    const known = this.#known.get(address);
    if (known === undefined || this.#now() < known.until) return known?.name;
    this.#known.delete(address);
    return undefined;
  }
}
