/**
 * The resolver at the far end, by which all names are looked for that are not local: the configured one, or
 * one that is found through the bastion. Each is asked a real question before it is used, and looked for
 * anew when it does not answer any more.
 */
import { formatEndpoint } from '../core/address.ts';
import type { Dialer } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import {
  DNS_PROBE_DEADLINE_MS,
  DNS_QUERY_DEADLINE_MS,
  DNS_RESOLVERS_MAX,
  DNS_SEARCH_PAUSE_MS,
} from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { RCODE, rcodeOf } from './message.ts';
import { makeQuery } from './question.ts';
import { parseResolvConf } from './own/files.ts';
import { Resolver } from './resolver.ts';
import type { Done } from './resolver.ts';

export const DNS_PORT = 53;

/** Bytes of the bastion's resolv.conf that are read. */
const RESOLV_CONF_MAX_BYTES = 65_536;

/** Where resolvers of a host listen: systemd-resolved, and all others. */
const STUBS: readonly Endpoint[] = [
  { address: '127.0.0.53', port: DNS_PORT },
  { address: '127.0.0.1', port: DNS_PORT },
];
const TYPE_NS = 2;
/** The servers of the root: every resolver that does recursion knows them. */
const PROBE = makeQuery('.', TYPE_NS);

export interface FarOptions {
  /** Name of the bastion or group that leads there, for the log. */
  readonly through: string;
  /** The way to the far end. */
  readonly dialer: () => Dialer | undefined;
  /** Reads a file of the bastion, up to so many bytes. */
  readonly readFile: (path: string, maxBytes: number) => Promise<Buffer>;
  /** Resolvers to use, in order; none: they are looked for. */
  readonly upstream: readonly Endpoint[];
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

/** `good` answered the probe as it should; `some` answered, if only that it does not want to. */
type Verdict = 'good' | 'some' | 'none';

interface Candidate {
  readonly resolver: Resolver;
  readonly verdict: Promise<Verdict>;
}

export class Far {
  readonly #options: FarOptions;
  #upstream: readonly Endpoint[];
  #chosen: Resolver | undefined;
  #search: Promise<void> | undefined;
  #searchedAt = -Infinity;
  /** Resolvers that the application itself addressed, while no other can be had. */
  readonly #addressed = new Map<string, Resolver>();
  #closed = false;
  #told = '';

  constructor(options: FarOptions) {
    this.#options = options;
    this.#upstream = options.upstream;
  }

  /** The resolver in use. */
  get endpoint(): Endpoint | undefined {
    return this.#chosen?.endpoint;
  }

  /** Other resolvers are to be used from now on. */
  use(upstream: readonly Endpoint[]): void {
    this.#upstream = upstream;
    this.#forget();
    this.#searchedAt = -Infinity;
  }

  /** `fallback`: the resolver that the question was addressed to, if the far end may have it. */
  ask(wire: Uint8Array, questionsEnd: number, fallback: string | undefined, done: Done): void {
    const deadline = this.#options.now() + DNS_QUERY_DEADLINE_MS;
    this.#ask(wire, questionsEnd, fallback, deadline, 1, done);
  }

  close(): void {
    this.#closed = true;
    this.#forget();
    for (const resolver of this.#addressed.values()) resolver.close();
    this.#addressed.clear();
  }

  #ask(
    wire: Uint8Array,
    questionsEnd: number,
    fallback: string | undefined,
    deadline: number,
    retries: number,
    done: Done,
  ): void {
    const left = deadline - this.#options.now();
    if (left <= 0 || this.#closed) {
      setImmediate(done, undefined);
      return;
    }
    const resolver = this.#chosen;
    if (resolver !== undefined) {
      resolver.ask(
        wire,
        questionsEnd,
        (answer) => {
          if (answer !== undefined) {
            done(answer);
            return;
          }
          if (this.#chosen === resolver) this.#forget();
          if (retries > 0) this.#ask(wire, questionsEnd, fallback, deadline, retries - 1, done);
          else done(undefined);
        },
        left,
      );
      return;
    }
    if (this.#search === undefined && this.#options.now() - this.#searchedAt < DNS_SEARCH_PAUSE_MS) {
      this.#askAddressed(wire, questionsEnd, fallback, left, done);
      return;
    }
    let waiting = true;
    const timer = setTimeout(() => {
      waiting = false;
      done(undefined);
    }, left);
    const found = (): void => {
      if (!waiting) return;
      clearTimeout(timer);
      if (this.#chosen !== undefined) this.#ask(wire, questionsEnd, fallback, deadline, retries, done);
      else this.#askAddressed(wire, questionsEnd, fallback, deadline - this.#options.now(), done);
    };
    this.find().then(found, found);
  }

  /** The last choice: what the application addressed, as if there were no netproxy in between. */
  #askAddressed(
    wire: Uint8Array,
    questionsEnd: number,
    address: string | undefined,
    leftMs: number,
    done: Done,
  ): void {
    const known = address === undefined ? undefined : this.#addressed.get(address);
    if (address === undefined || this.#upstream.length > 0 || leftMs <= 0) {
      setImmediate(done, undefined);
      return;
    }
    if (known === undefined && this.#addressed.size >= DNS_RESOLVERS_MAX) this.#evict();
    const resolver = known ?? new Resolver({ address, port: DNS_PORT }, this.#options.dialer);
    this.#addressed.delete(address);
    this.#addressed.set(address, resolver);
    resolver.ask(wire, questionsEnd, done, leftMs);
  }

  #evict(): void {
    for (const [address, resolver] of this.#addressed) {
      this.#addressed.delete(address);
      resolver.close();
      return;
    }
  }

  #forget(): void {
    const resolver = this.#chosen;
    this.#chosen = undefined;
    resolver?.close();
  }

  /** Looks for a resolver, unless one is being looked for. */
  find(): Promise<void> {
    this.#search ??= this.#find().finally(() => {
      this.#search = undefined;
    });
    return this.#search;
  }

  async #find(): Promise<void> {
    const known = this.#upstream.length > 0 ? this.#upstream : STUBS;
    const candidates = known.map((endpoint) => this.#probe(endpoint));
    // Both begin at once: on a far bastion each step costs a round trip or two.
    const named = this.#upstream.length > 0 ? [] : this.#named();
    let found = await choose(candidates, ['good']);
    if (found === undefined) {
      for (const endpoint of await named) {
        if (known.some((other) => same(other, endpoint))) continue;
        candidates.push(this.#probe(endpoint));
      }
      found = (await choose(candidates, ['good'])) ?? (await choose(candidates, ['some']));
    }
    for (const { resolver } of candidates) if (resolver !== found) resolver.close();
    if (this.#closed) {
      found?.close();
      return;
    }
    this.#chosen = found;
    // A bastion that is away says nothing about resolvers: the next question looks again.
    const reached = candidates.some(({ resolver }) => resolver.reached);
    this.#searchedAt = reached && found === undefined ? this.#options.now() : -Infinity;
    if (reached || found !== undefined) this.#tell(found, candidates);
  }

  #tell(found: Resolver | undefined, candidates: readonly Candidate[]): void {
    const { log, through } = this.#options;
    const tried = candidates.map(({ resolver }) => formatEndpoint(resolver.endpoint));
    const resolver = found === undefined ? undefined : formatEndpoint(found.endpoint);
    if (this.#told === (resolver ?? 'none')) return;
    this.#told = resolver ?? 'none';
    if (resolver !== undefined) {
      log.info(
        { resolver, tried, through },
        `names are looked for at the far end by ${resolver}, through ${through}`,
      );
      return;
    }
    const then =
      this.#upstream.length > 0
        ? 'only local names are known'
        : 'each question goes through the bastion to the resolver that it is addressed to';
    log.warn(
      { tried, through },
      `no resolver answers at the far end of ${through}: ${then}; "dns.upstream" names one`,
    );
  }

  #probe(endpoint: Endpoint): Candidate {
    const resolver = new Resolver(endpoint, this.#options.dialer);
    const verdict = new Promise<Verdict>((resolve) => {
      resolver.ask(
        PROBE,
        PROBE.length,
        (answer) => {
          if (answer === undefined) resolve('none');
          else
            resolve(rcodeOf(answer) === RCODE.ok || rcodeOf(answer) === RCODE.noSuchName ? 'good' : 'some');
        },
        DNS_PROBE_DEADLINE_MS,
      );
    });
    return { resolver, verdict };
  }

  /** The resolvers that the bastion itself uses. */
  async #named(): Promise<readonly Endpoint[]> {
    try {
      const file = await this.#options.readFile('/etc/resolv.conf', RESOLV_CONF_MAX_BYTES);
      const { nameservers } = parseResolvConf(file.toString('latin1'));
      // A zone means a device of the bastion's, which no channel can name.
      return nameservers
        .filter((text) => !text.includes('%'))
        .map((address) => ({ address, port: DNS_PORT }));
    } catch (error) {
      this.#options.log.debug(
        { error: (error as Error).message },
        "the bastion's /etc/resolv.conf cannot be read by SFTP",
      );
      return [];
    }
  }
}

/** The first in order with one of these verdicts; those that come later are not waited for. */
async function choose(
  candidates: readonly Candidate[],
  wanted: readonly Verdict[],
): Promise<Resolver | undefined> {
  for (const { resolver, verdict } of candidates) if (wanted.includes(await verdict)) return resolver;
  return undefined;
}

function same(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}
