import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import { BASTION_ADDRESSES_MAX_MS, BASTION_ADDRESSES_MIN_MS, BASTION_REFRESH_MS } from '../core/limits.ts';
import type { Lookup } from '../core/lookup.ts';

/**
 * The addresses of a bastion. A name is asked for again before an attempt to connect when what is known of it
 * is old; as long as nothing newer is found, the old addresses hold.
 */
export class Addresses {
  readonly #host: string;
  readonly #port: number;
  readonly #lookup: Lookup;
  readonly #changed: (addresses: readonly string[]) => void;
  #known: readonly string[] = [];
  #until = -Infinity;
  #asking: Promise<void> | undefined;

  /** `changed` is told of addresses that differ from those known before, but not of the first. */
  constructor(host: string, port: number, lookup: Lookup, changed: (addresses: readonly string[]) => void) {
    this.#host = host;
    this.#port = port;
    this.#lookup = lookup;
    this.#changed = changed;
  }

  /** Those known now; none before the first answer. */
  get known(): readonly string[] {
    return this.#known;
  }

  /** The addresses to try, in order. Throws BASTION_UNRESOLVED when there never were any. */
  async get(): Promise<readonly Endpoint[]> {
    if (performance.now() >= this.#until) {
      this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
      if (this.#known.length === 0) await this.#asking;
      else {
        const late = new AbortController();
        const waited = sleep(BASTION_REFRESH_MS, undefined, { signal: late.signal, ref: false });
        await Promise.race([this.#asking.catch(() => {}), waited.catch(() => {})]);
        late.abort();
      }
    }
    return this.#known.map((address) => ({ address, port: this.#port }));
  }

  /** Why there is none, if so. */
  async resolve(): Promise<NetproxyError | undefined> {
    try {
      await this.get();
      return undefined;
    } catch (error) {
      if (error instanceof NetproxyError) return error;
      throw error;
    }
  }

  async #ask(): Promise<void> {
    try {
      const { addresses, ttl } = await this.#lookup(this.#host);
      const holds = Math.min(Math.max(ttl * 1000, BASTION_ADDRESSES_MIN_MS), BASTION_ADDRESSES_MAX_MS);
      this.#until = isIP(this.#host) === 0 ? performance.now() + holds : Infinity;
      const fresh = addresses.filter((address) => !this.#known.includes(address));
      const first = this.#known.length === 0;
      this.#known = addresses;
      if (fresh.length > 0 && !first) this.#changed(fresh);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new NetproxyError(
        'BASTION_UNRESOLVED',
        `the bastion's name ${this.#host} has no address: ${reason}`,
        {
          cause,
        },
      );
    }
  }
}
