/**
 * The far ends that names are looked up at: of each bastion or group its own resolver, since networks give the same
 * name different addresses, and the families that it reaches. Each is made when a name is first sent there.
 */
import { formatEndpoint } from '../core/address.ts';
import type { Dialer } from '../core/dialer.ts';
import { DNS_FAR_ENDS_MAX } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { FarResolver } from '../core/names.ts';
import { Far } from './far.ts';
import { Reach } from './reach.ts';
import type { AddressPolicy } from './reach.ts';
import type { Ends, FarEnd } from './server.ts';

/** What of the settings concerns far ends. */
export interface FarEndSettings {
  /** Resolvers to use; an upstream that has none here is searched for one. */
  readonly upstream: readonly FarResolver[];
  readonly aaaa: AddressPolicy;
}

/** Bastions and groups, by name. All of these may change with the configuration. */
export interface Upstreams {
  /** Where goes what no rule sends elsewhere. */
  lastResort(): string;
  /** Where a name belongs (lower case, without the closing dot). */
  upstreamOf(name: string): string;
  dialer(upstream: string): Dialer | undefined;
  /** Reads a file of the server, up to so many bytes. */
  readFile(upstream: string, path: string, maxBytes: number): Promise<Buffer>;
}

export interface FarEndsOptions {
  readonly upstreams: Upstreams;
  readonly settings: FarEndSettings;
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

/** What is known of a far end; what was not asked for yet is undefined. */
export interface KnownFarEnd {
  /** Whether it has a way to addresses of the family. */
  readonly ipv4: boolean | undefined;
  readonly ipv6: boolean | undefined;
  readonly resolver: string | undefined;
}

interface End extends FarEnd {
  readonly families: Reach;
}

export class FarEnds implements Ends {
  readonly #options: FarEndsOptions;
  #settings: FarEndSettings;
  /** By name of the upstream; the one used longest ago first. */
  readonly #ends = new Map<string, End>();

  constructor(options: FarEndsOptions) {
    this.#options = options;
    this.#settings = options.settings;
  }

  /** The resolvers in use, by upstream. */
  get resolvers(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#ends].flatMap(([name, { far }]) =>
        far.endpoint === undefined ? [] : [[name, formatEndpoint(far.endpoint)]],
      ),
    );
  }

  /** What was found out, by upstream. */
  get known(): Readonly<Record<string, KnownFarEnd>> {
    return Object.fromEntries(
      [...this.#ends].map(([name, { far, families }]) => {
        const resolver = far.endpoint === undefined ? undefined : formatEndpoint(far.endpoint);
        return [name, { ipv4: families.has(4), ipv6: families.has(6), resolver }];
      }),
    );
  }

  endOf(name: string): FarEnd {
    return this.#end(this.#options.upstreams.upstreamOf(name));
  }

  /** Looks for the resolver that most names will need. */
  warm(): void {
    void this.#end(this.#options.upstreams.lastResort()).far.find();
  }

  /** Other settings, or other bastions under the same names: what was found out holds no longer. */
  follow(settings: FarEndSettings): void {
    this.#settings = settings;
    for (const [upstream, end] of this.#ends) {
      if (this.#options.upstreams.dialer(upstream) === undefined) {
        this.#ends.delete(upstream);
        end.far.close();
      } else {
        end.far.use(this.#resolversOf(upstream));
        end.families.use(settings.aaaa);
        end.failingUntil = -Infinity;
      }
    }
  }

  /** The same dialer, of whose answers is taken note where names are looked up at that upstream. */
  watch(upstream: string, dialer: Dialer): Dialer {
    return this.#ends.get(upstream)?.families.watch(dialer) ?? dialer;
  }

  /** Questions that wait get no answer. */
  close(): void {
    for (const { far } of this.#ends.values()) far.close();
    this.#ends.clear();
  }

  #end(upstream: string): End {
    const end = this.#ends.get(upstream) ?? this.#make(upstream);
    this.#ends.delete(upstream);
    this.#ends.set(upstream, end);
    for (const [oldest, { far }] of this.#ends) {
      if (this.#ends.size <= DNS_FAR_ENDS_MAX) break;
      this.#ends.delete(oldest);
      far.close();
    }
    return end;
  }

  #make(upstream: string): End {
    const { upstreams, log } = this.#options;
    const now = (): number => this.#options.now();
    const dialer = (): Dialer | undefined => upstreams.dialer(upstream);
    const far = new Far({
      ...{ through: upstream, dialer, log, now },
      readFile: (path, maxBytes) => upstreams.readFile(upstream, path, maxBytes),
      upstream: this.#resolversOf(upstream),
    });
    const families = new Reach({ dialer, policy: this.#settings.aaaa, log, now });
    return { upstream, far, families, failingUntil: -Infinity };
  }

  #resolversOf(upstream: string): readonly FarResolver[] {
    const lastResort = this.#options.upstreams.lastResort();
    return this.#settings.upstream.filter((each) => (each.upstream ?? lastResort) === upstream);
  }
}
