/** The parts that answer DNS, put together. */
import type { DatagramCarrier, DatagramReceiver, UdpFlow } from '../core/datagram.ts';
import type { Dialer } from '../core/dialer.ts';
import type { Flow } from '../core/flow.ts';
import type { Log } from '../core/log.ts';
import type { Names } from '../core/names.ts';
import { FakeAddresses } from './fake.ts';
import { FarEnds } from './far-ends.ts';
import type { KnownFarEnd } from './far-ends.ts';
import type { FarEndSettings, Upstreams } from './far-ends.ts';
import { DnsListener } from './listener.ts';
import type { ListenerSockets } from './listener.ts';
import { NamesMap } from './names.ts';
import { Near } from './near.ts';
import type { Means } from './own/question.ts';
import { NetworkPlaces } from './places.ts';
import { DnsServer } from './server.ts';
import type { DnsCounters } from './server.ts';
import { DnsFlows } from './stream.ts';

export interface DnsSettings extends FarEndSettings {
  /** The namespace's own resolvers; none: those of resolv.conf. */
  readonly resolvers: readonly string[];
  /** Domains that are local, and domains that never are. */
  readonly local: readonly string[];
  readonly far: readonly string[];
  /** Port of the listener for what the filter redirects. */
  readonly port: number;
  /** Milliseconds that an answer may be kept beyond its time. */
  readonly stale: number;
  /** Networks of the addresses that stand for names, and the file in which they are kept. */
  readonly fake4: string;
  readonly fake6: string;
  readonly fakeFile: string | undefined;
}

export interface DnsOptions {
  readonly settings: DnsSettings;
  /** Networks that stay direct beside those that interfaces are on. */
  readonly networks: readonly string[];
  readonly tun: string;
  readonly sockets: Means;
  /** The ways to the far ends. */
  readonly upstreams: Upstreams;
  /** Whether a fake address is to stand for a name. */
  readonly isFaked: (name: string) => boolean;
  readonly log: Log;
  /** resolv.conf of the namespace. */
  readonly resolvConf?: string | undefined;
  /** As in `PlacesOptions`. */
  readonly ownNetworks?: (() => readonly string[]) | undefined;
  /** An address that means netproxy itself, and so no resolver. */
  readonly self?: string | undefined;
  /** Makes the sockets of the listener. */
  readonly listen: ListenerSockets;
}

const RESOLV_CONF = '/etc/resolv.conf';
const now = (): number => performance.now();

export class Dns implements DatagramCarrier {
  readonly #names = new NamesMap(now);
  readonly fakes: FakeAddresses;
  readonly #ends: FarEnds;
  readonly #places: NetworkPlaces;
  readonly #server: DnsServer;
  readonly #flows: DnsFlows;
  readonly #self: string | undefined;
  readonly #listener: DnsListener;

  constructor(options: DnsOptions) {
    const { settings, log, upstreams } = options;
    const near = new Near(options.sockets);
    this.#ends = new FarEnds({ upstreams, settings, log, now });
    this.#places = new NetworkPlaces({
      ...{ near, log, tun: options.tun },
      ...settings,
      networks: options.networks,
      ...{ resolvConf: options.resolvConf ?? RESOLV_CONF, ownNetworks: options.ownNetworks },
    });
    const { fake4: range4, fake6: range6, fakeFile: file } = settings;
    this.fakes = new FakeAddresses({ ...{ range4, range6, file, log }, now: () => Date.now() });
    this.#server = new DnsServer({
      ...{ fakes: this.fakes, isFaked: options.isFaked },
      places: this.#places,
      ...{ near, log, now },
      ends: this.#ends,
      names: this.#names,
      staleMs: settings.stale,
    });
    this.#self = options.self;
    this.#flows = new DnsFlows(this.#server, options.self);
    this.#listener = new DnsListener(this.#server, settings.port, options.listen);
  }

  get names(): Names {
    return {
      namesOf: (address) => {
        const fake = this.fakes.nameOf(address);
        return fake === undefined ? this.#names.namesOf(address) : [fake];
      },
    };
  }

  get counters(): DnsCounters & { resolvers: Readonly<Record<string, string>> } {
    return { ...this.#server.counters, resolvers: this.#ends.resolvers };
  }

  /** What is known of far ends, by bastion or group. */
  get farEnds(): Readonly<Record<string, KnownFarEnd>> {
    return this.#ends.known;
  }

  /** Listens, and reads what the namespace says of its resolvers. Before the namespace is taken over. */
  async start(): Promise<void> {
    await this.#listener.start();
    await this.#places.start();
  }

  /** A bastion is there: what is found now need not be looked for when somebody asks. */
  warm(): void {
    this.#ends.warm();
  }

  /** Other settings, or other bastions and groups than before. */
  follow(settings: DnsSettings, networks: readonly string[]): void {
    this.#places.follow({ ...settings, networks });
    this.#ends.follow(settings);
    this.#server.keepStale(settings.stale);
    this.#server.forget();
  }

  /** The addresses of the namespace may have changed. */
  networksChanged(): void {
    this.#places.networksChanged();
  }

  /** Takes a UDP flow to port 53. */
  open(flow: UdpFlow): DatagramReceiver {
    const { source, destination } = flow.tuple;
    return {
      accept: ({ payload }) =>
        this.#server.accept({
          payload,
          client: `udp ${source.address} ${source.port}`,
          resolver: destination.address === this.#self ? undefined : destination.address,
          datagram: true,
          // By the flow, which counts its answers.
          answer: (answer) => flow.send(answer),
        }),
      closed() {},
    };
  }

  /** Takes a TCP flow to port 53 that waits for its answer. */
  accept(flow: Flow): void {
    this.#flows.accept(flow);
  }

  /** Tells of what dials by `dialer` show of the far end of an upstream. */
  watch(upstream: string, dialer: Dialer): Dialer {
    return this.#ends.watch(upstream, dialer);
  }

  /** Resolves when fake addresses have been written down. */
  async close(): Promise<void> {
    this.#listener.close();
    this.#server.close();
    await this.fakes.close();
  }
}
