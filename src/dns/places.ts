/** Where names are looked for: made of the settings, resolv.conf and the networks of the namespace. */
import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

import { parseCidr } from '../core/cidr.ts';
import type { Log } from '../core/log.ts';
import { askNetworkNames, DOCKER_RESOLVER } from './docker.ts';
import { Home } from './home.ts';
import type { Near } from './near.ts';
import type { Places } from './server.ts';
import { Split } from './split.ts';
import type { Side } from './split.ts';

export interface PlacesInput {
  /** Domains that are local, and domains that never are. */
  readonly local: readonly string[];
  readonly far: readonly string[];
  /** The namespace's resolvers; none: those of resolv.conf. */
  readonly resolvers: readonly string[];
  /** Networks that stay direct beside those that interfaces are on. */
  readonly networks: readonly string[];
}

export interface PlacesOptions extends PlacesInput {
  readonly near: Near;
  /** Device of the TUN, whose network is nobody's. */
  readonly tun: string;
  readonly resolvConf: string;
  /** `address/prefix` of every device of the namespace but loopback and the TUN; those of our own by default. */
  readonly ownNetworks?: (() => readonly string[]) | undefined;
  readonly log: Log;
}

/** Answered within the namespace whatever the address means elsewhere. */
const OWN: readonly string[] = ['127.0.0.0/8', '::1/128', 'fe80::/10', '169.254.0.0/16'];

export class NetworkPlaces implements Places {
  readonly #options: PlacesOptions;
  readonly #home: Home;
  #input: PlacesInput;
  #split: Split;
  #direct = new BlockList();
  /** Names of networks of a container engine: every container on them is NAME.NETWORK. */
  #engineNetworks: readonly string[] = [];
  #told = '';

  constructor(options: PlacesOptions) {
    this.#options = options;
    this.#input = options;
    this.#split = new Split({ local: options.local, far: options.far, found: [], networks: [] });
    this.#home = new Home(options.resolvConf, () => void this.#changed());
  }

  /** Reads what there is. */
  async start(): Promise<void> {
    await this.#home.look();
  }

  follow(input: PlacesInput): void {
    this.#input = input;
    void this.#changed();
  }

  /** The addresses of the namespace may have changed. */
  networksChanged(): void {
    this.#make();
  }

  sideOf(name: string): Side {
    // Also has resolv.conf looked at.
    void this.#home.conf;
    return this.#split.sideOf(name);
  }

  nearFor(resolver: string | undefined): readonly string[] {
    const own = this.#resolvers;
    if (resolver === undefined) return own;
    const known = [...own, ...this.#home.conf.behind].find((address) => address.split('%')[0] === resolver);
    if (known !== undefined) return [known];
    // The kernel lets the application talk to a neighbour anyway. To anybody else no name is told.
    return this.#isDirect(resolver) ? [resolver] : [];
  }

  farFor(resolver: string | undefined): string | undefined {
    return resolver === undefined || this.#isDirect(resolver) ? undefined : resolver;
  }

  get #resolvers(): readonly string[] {
    return this.#input.resolvers.length > 0 ? this.#input.resolvers : this.#home.conf.nameservers;
  }

  #isDirect(address: string): boolean {
    const family = isIP(address);
    return family === 0 || this.#direct.check(address, family === 4 ? 'ipv4' : 'ipv6');
  }

  async #changed(): Promise<void> {
    this.#make();
    const resolvers = this.#resolvers;
    const addresses = resolvers.includes(DOCKER_RESOLVER) ? this.#ownAddresses() : [];
    const networks = await askNetworkNames(this.#options.near, addresses);
    this.#engineNetworks = networks;
    this.#make();
    const { search } = this.#home.conf;
    const told = JSON.stringify([resolvers, search, networks]);
    if (told === this.#told) return;
    this.#told = told;
    this.#options.log.info(
      { resolvers, domains: [...search, ...networks, ...this.#input.local] },
      "local names are looked for by the namespace's own resolvers",
    );
  }

  #make(): void {
    const networks = [...this.#ownNetworks(), ...this.#input.networks];
    this.#split = new Split({
      local: this.#input.local,
      far: this.#input.far,
      found: [...this.#home.conf.search, ...this.#engineNetworks],
      networks,
    });
    this.#direct = new BlockList();
    for (const text of [...OWN, ...networks]) {
      const cidr = parseCidr(text);
      const [network = ''] = cidr?.network.split('/') ?? [];
      if (cidr !== undefined)
        this.#direct.addSubnet(network, cidr.prefix, cidr.family === 4 ? 'ipv4' : 'ipv6');
    }
  }

  #ownNetworks(): readonly string[] {
    return this.#options.ownNetworks?.() ?? networksOf(this.#options.tun);
  }

  #ownAddresses(): string[] {
    return this.#ownNetworks().map((text) => text.split('/')[0] ?? '');
  }
}

/** In canonical text, as `address/prefix`, of all devices but loopback and the TUN. */
function networksOf(tun: string): string[] {
  return Object.entries(networkInterfaces()).flatMap(([device, addresses]) =>
    device === tun
      ? []
      : (addresses ?? []).flatMap(({ cidr, internal }) => (internal || cidr === null ? [] : [cidr])),
  );
}
