/** The names by which the application came to know addresses, for rules and logs. */
import { DNS_NAMES_GRACE_MS, DNS_NAMES_MAX, DNS_NAMES_OF_ADDRESS_MAX } from '../core/limits.ts';
import type { Names } from '../core/names.ts';

interface Known {
  readonly name: string;
  readonly until: number;
}

export class NamesMap implements Names {
  /** By address in canonical text, the one told longest ago first; its names, the latest first. */
  readonly #known = new Map<string, readonly Known[]>();
  readonly #now: () => number;
  #size = 0;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Names of all addresses. */
  get size(): number {
    return this.#size;
  }

  /** An answer gave the application these addresses for `name`, for `ttl` seconds. */
  learn(name: string, addresses: readonly string[], ttl: number): void {
    const now = this.#now();
    const latest: Known = { name, until: now + ttl * 1000 + DNS_NAMES_GRACE_MS };
    for (const address of addresses) {
      const before = this.#known.get(address) ?? [];
      const others = before.filter((known) => known.name !== name && now < known.until);
      const names = [latest, ...others.slice(0, DNS_NAMES_OF_ADDRESS_MAX - 1)];
      this.#size += names.length - before.length;
      this.#known.delete(address);
      this.#known.set(address, names);
    }
    for (const [oldest, names] of this.#known) {
      if (this.#size <= DNS_NAMES_MAX) return;
      this.#known.delete(oldest);
      this.#size -= names.length;
    }
  }

  /** A name counts for some time after its answer has expired: programs keep addresses beyond their TTL. */
  namesOf(address: string): readonly string[] {
    const now = this.#now();
    return (this.#known.get(address) ?? []).flatMap(({ name, until }) => (now < until ? name : []));
  }
}
