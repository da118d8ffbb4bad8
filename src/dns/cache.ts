/**
 * Answers of the far resolver, kept as they came for as long as they say (RFC 1035, 3.2.1; RFC 2308), and for
 * some time after, in case that nothing newer can be had (RFC 8767).
 */
import { DNS_CACHE_MAX, DNS_CACHE_MAX_BYTES, DNS_STALE_TTL_S } from '../core/limits.ts';
import { parse, setTtls } from './message.ts';

interface Entry {
  readonly wire: Uint8Array;
  readonly ttlPlaces: readonly number[];
  readonly storedAt: number;
  readonly freshUntil: number;
}

export interface Cached {
  /** The caller's to keep. */
  readonly wire: Uint8Array;
  readonly fresh: boolean;
}

export class DnsCache {
  /** The one used longest ago first. */
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;
  #staleMs: number;
  #bytes = 0;

  /** `now`: milliseconds of a monotonic clock. `staleMs`: how long after its time an answer may still do. */
  constructor(now: () => number, staleMs: number) {
    this.#now = now;
    this.#staleMs = staleMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  keepStale(ms: number): void {
    this.#staleMs = ms;
  }

  get(key: string): Cached | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const now = this.#now();
    const fresh = now < entry.freshUntil;
    if (!fresh && now >= entry.freshUntil + this.#staleMs) {
      this.#drop(key, entry);
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const wire = Uint8Array.from(entry.wire);
    const age = Math.floor((now - entry.storedAt) / 1000);
    setTtls(wire, entry.ttlPlaces, (ttl) => (fresh ? Math.max(0, ttl - age) : DNS_STALE_TTL_S));
    return { wire, fresh };
  }

  /** `ttl` in seconds; nothing is kept for 0. */
  set(key: string, wire: Uint8Array, ttl: number): void {
    const before = this.#entries.get(key);
    if (before !== undefined) this.#drop(key, before);
    const parts = ttl > 0 ? parse(wire) : undefined;
    if (parts === undefined) return;
    const now = this.#now();
    this.#entries.set(key, {
      wire: Uint8Array.from(wire),
      ttlPlaces: parts.records.map(({ ttlAt }) => ttlAt),
      storedAt: now,
      freshUntil: now + ttl * 1000,
    });
    this.#bytes += wire.length + key.length;
    for (const [oldKey, old] of this.#entries) {
      if (this.#entries.size <= DNS_CACHE_MAX && this.#bytes <= DNS_CACHE_MAX_BYTES) return;
      this.#drop(oldKey, old);
    }
  }

  /** What was answered may not be true any more: another server answers from now on. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.wire.length + key.length;
  }
}
