/**
 * Whether the far end has IPv6, and IPv4: an address that nothing leads to only costs the application a failed
 * connect. Probed by opening a channel to an address, of which the bastion's kernel says at once when it has
 * no route; and told by what the application's own connects show.
 */
import { familyOf } from '../core/address.ts';
import type { Dial, Dialer } from '../core/dialer.ts';
import type { Endpoint, Family } from '../core/flow.ts';
import { DNS_REACH_MAX, DNS_REACH_MS, DNS_REACH_PROBE_MS, PING_PROBE_PORT } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { Families } from './server.ts';
import { TYPE } from './question.ts';

/** `auto` is found out. */
export type AddressPolicy = 'auto' | 'yes' | 'no';

export interface ReachOptions {
  readonly dialer: () => Dialer | undefined;
  readonly policy: AddressPolicy;
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

interface Verdict {
  readonly until: number;
  readonly reachable: boolean;
}

/**
 * Addresses kept for documentation (RFC 5737, RFC 3849): a default route leads there too, and nobody is there
 * to be bothered.
 */
const ANYWHERE: Readonly<Record<Family, string>> = { 4: '192.0.2.1', 6: '2001:db8::1' };
const ORIGIN: Endpoint = { address: '127.0.0.1', port: 0 };
const NOTHING = { ended: false, take: (): undefined => {}, taken(): void {} };
const NOWHERE = { write: (): number => 0, end(): void {} };

export class Reach implements Families {
  readonly #options: ReachOptions;
  #policy: AddressPolicy;
  /** By network, and by family for everything; the one used longest ago first. */
  readonly #verdicts = new Map<string, Verdict>();
  readonly #probes = new Map<string, ((reachable: boolean) => void)[]>();
  readonly #told = new Map<Family, boolean>();

  constructor(options: ReachOptions) {
    this.#options = options;
    this.#policy = options.policy;
  }

  use(policy: AddressPolicy): void {
    this.#policy = policy;
    this.#verdicts.clear();
  }

  useful(type: number, addresses: readonly string[], ready: (useful: boolean) => void): void {
    const family = type === TYPE.aaaa ? 6 : 4;
    const [first] = addresses;
    if ((type !== TYPE.aaaa && type !== TYPE.a) || this.#policy === 'yes') ready(true);
    else if (type === TYPE.aaaa && this.#policy === 'no') ready(false);
    else if (first === undefined || this.#policy === 'no') ready(true);
    else {
      this.#ask(`IPv${family}`, ANYWHERE[family], (all) => {
        if (all) ready(true);
        else this.#ask(networkOf(first, family), first, (it) => this.#decide(family, it, ready));
      });
    }
  }

  /** Where neither family leads anywhere, something else is wrong, and no address is kept back. */
  #decide(family: Family, reachable: boolean, ready: (useful: boolean) => void): void {
    if (reachable) {
      ready(true);
      return;
    }
    const other = family === 4 ? 6 : 4;
    this.#ask(`IPv${other}`, ANYWHERE[other], (otherReachable) => {
      if (otherReachable && this.#told.get(family) !== true) {
        this.#told.set(family, true);
        const what = `the far end has no IPv${family} to speak of`;
        this.#options.log.info(
          { family },
          `${what}: its IPv${family} addresses are not given to the application`,
        );
      }
      ready(!otherReachable);
    });
  }

  /** Whether the far end has addresses of a family at all, as far as it was asked for lately. */
  has(family: Family): boolean | undefined {
    if (this.#policy !== 'auto' && family === 6) return this.#policy === 'yes';
    return this.#verdicts.get(`IPv${family}`)?.reachable;
  }

  /** The same dialer, of whose answers we take note. */
  watch(dialer: Dialer): Dialer {
    return {
      dial: (target, origin, handlers) =>
        dialer.dial(target, origin, {
          // The flow among them: without it the engine could not accept it by itself.
          ...handlers,
          opened: (channel) => {
            this.#saw(target.address, true);
            handlers.opened(channel);
          },
          failed: (failure) => {
            if (failure.reason === 'refused') this.#saw(target.address, true);
            else if (failure.reason === 'network-unreachable') this.#saw(target.address, false);
            handlers.failed(failure);
          },
        }),
    };
  }

  #saw(address: string, reachable: boolean): void {
    const family = familyOf(address);
    if (family !== undefined) this.#note(networkOf(address, family), reachable);
  }

  #note(key: string, reachable: boolean): void {
    this.#verdicts.delete(key);
    this.#verdicts.set(key, { until: this.#options.now() + DNS_REACH_MS, reachable });
    for (const oldest of this.#verdicts.keys()) {
      if (this.#verdicts.size <= DNS_REACH_MAX) return;
      this.#verdicts.delete(oldest);
    }
  }

  #ask(key: string, address: string, ready: (reachable: boolean) => void): void {
    const known = this.#verdicts.get(key);
    if (known !== undefined && this.#options.now() < known.until) {
      ready(known.reachable);
      return;
    }
    const waiting = this.#probes.get(key);
    if (waiting !== undefined) {
      waiting.push(ready);
      return;
    }
    this.#probes.set(key, [ready]);
    this.#probe(address, (reachable) => {
      if (reachable !== undefined) this.#note(key, reachable);
      const all = this.#probes.get(key) ?? [];
      this.#probes.delete(key);
      for (const each of all) each(reachable ?? true);
    });
  }

  /** Undefined when nothing was learnt. Anything but the word that there is no route counts as a way there. */
  #probe(address: string, done: (reachable: boolean | undefined) => void): void {
    const dialer = this.#options.dialer();
    if (dialer === undefined) {
      done(undefined);
      return;
    }
    const timer = setTimeout(() => {
      dial.cancel();
      done(true);
    }, DNS_REACH_PROBE_MS);
    const dial: Dial = dialer.dial({ address, port: PING_PROBE_PORT }, ORIGIN, {
      opened: (channel) => {
        clearTimeout(timer);
        channel.start(NOTHING, NOWHERE, () => {});
        channel.abort();
        done(true);
      },
      failed: ({ reason, upstream }) => {
        clearTimeout(timer);
        done(upstream === true ? undefined : reason !== 'network-unreachable');
      },
    });
  }
}

/** What shares a route, mostly: a site (RFC 6177), or a /16 of IPv4. */
function networkOf(address: string, family: Family): string {
  if (family === 4) return address.split('.').slice(0, 2).join('.');
  const [head = ''] = address.split('::');
  return head.split(':').slice(0, 3).join(':');
}
