/**
 * What turns the configuration into upstreams: every bastion connected under its name, and kept true to
 * the configuration while it changes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { changes } from '../config/changes.ts';
import type { Config } from '../config/config.ts';
import type { Commander, Dialer } from '../core/dialer.ts';
import type { HeldAddresses } from '../core/held-addresses.ts';
import type { Lookup } from '../core/lookup.ts';
import type { OwnSockets } from '../core/own-sockets.ts';
import { FWMARK, RESOLVE_OTHERS_MS } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { Native, NativeEngine } from '../core/native.ts';
import type { BastionOptions, BastionStatus, FarEnd, NumberedTraffic } from '../ssh/bastion.ts';
import { Group } from '../ssh/group.ts';
import { JumpHost } from '../ssh/jump.ts';
import { markedSockets } from '../ssh/marked-socket.ts';
import { Addresses } from '../ssh/addresses.ts';
import { Succession } from '../ssh/succession.ts';
import { knownName, loginOf, trustOf } from './judge.ts';
import { carriersOf, depthOf, groupsOf, lastResortOf } from '../config/roles.ts';

/** What every connection to a bastion needs of the process. */
export interface Connection {
  readonly native: Native;
  readonly log: Log;
  /** Undefined: JavaScript moves the bytes. */
  readonly engine: () => NativeEngine | undefined;
  readonly held: HeldAddresses;
  readonly own: OwnSockets;
  readonly lookup: Lookup;
  /** Told of addresses of bastions that were found anew. */
  onAddresses?(addresses: readonly string[]): void;
  /** Told of the milliseconds of each round trip of a keepalive. */
  onRoundTrip?(bastion: string, ms: number): void;
}

/** What a bastion is doing, for people and for metrics. */
export interface UpstreamState extends Pick<BastionStatus, 'state' | 'reason'> {
  readonly name: string;
  readonly connections: number;
  /** Channels and opens under way. */
  readonly channels: number;
  /** Times that it was connected, and that all connections to it were lost. */
  readonly connects: number;
  readonly losses: number;
  /** Smoothed, of keepalives, in milliseconds; undefined before the first. */
  readonly roundTripMs: number | undefined;
  readonly farEnd: FarEnd;
  /** Each SSH connection in use for new flows. */
  readonly traffic: readonly NumberedTraffic[];
}

type Settings = Config['bastions'][number];

/** Settings that a connection is made with, and among them those that say which server is the right one. */
const CONNECTION = /^(bastions\[0\]\.(?!(name|maxConnections)$)|rekeyInterval$)/;
const TRUST = /^bastions\[0\]\.(host|port|hostKeyAlias|knownHostsFile|hostKeys|tofu)$/;

/** Every bastion of the configuration, connected, and the groups of them. */
export class Upstreams {
  readonly #connection: Connection;
  readonly #bastions = new Map<string, Member>();
  readonly #groups = new Map<string, Group>();
  /** Out of the configuration; each is gone when its last flow has ended. */
  readonly #retired = new Set<Succession>();
  readonly #dialers = new Map<string, Dialer & Commander>();
  readonly #ready = Promise.withResolvers<string>();
  #config: Config;

  private constructor(config: Config, connection: Connection) {
    this.#config = config;
    this.#connection = connection;
    this.#ready.promise.catch(() => {});
  }

  /**
   * Resolves the names of the bastions that are reached directly; nothing is connected before `start`.
   * Throws the first error when none has an address. One that has none, or none yet, is looked for again.
   */
  static async create(config: Config, connection: Connection): Promise<Upstreams> {
    const upstreams = new Upstreams(config, connection);
    const members = config.bastions.map((settings) => upstreams.#make(config, settings));
    const resolving = members
      .flatMap(({ addresses }) => addresses ?? [])
      .map(async (addresses) => {
        const error = await addresses.resolve();
        if (error !== undefined) connection.log.warn({ code: error.code, hint: error.hint }, error.message);
        return error;
      });
    const all = Promise.all(resolving);
    const one = Promise.any(resolving.map(async (each) => (await each) && Promise.reject()));
    const some = one.then(() => sleep(RESOLVE_OTHERS_MS, undefined, { ref: false }));
    const errors = await Promise.race([all, some.catch(() => all)]);
    if (errors?.[0] !== undefined && !errors.includes(undefined)) throw errors[0];
    for (const member of members) upstreams.#add(member);
    upstreams.#regroup();
    return upstreams;
  }

  /** By the name that a verdict gives. */
  get dialers(): ReadonlyMap<string, Dialer & Commander> {
    return this.#dialers;
  }

  /** Where goes what no rule sends elsewhere. */
  get lastResort(): string {
    return lastResortOf(this.#config);
  }

  /** Every address that a socket of the namespace connects to for a bastion, as far as it is known. */
  get addresses(): readonly string[] {
    return [...new Set([...this.#bastions.values()].flatMap(({ addresses }) => addresses?.known ?? []))];
  }

  get states(): readonly UpstreamState[] {
    return [...this.#bastions].map(([name, { succession, connects, losses }]) => {
      const { state, reason } = succession.status;
      const { connections, size: channels, roundTripMs, farEnd, traffic } = succession;
      return { name, state, reason, connections, channels, connects, losses, roundTripMs, farEnd, traffic };
    });
  }

  /** The first bytes of a file of a bastion's server, or of one of a group's. Rejects when it cannot be had. */
  async readFile(name: string, path: string, maxBytes: number): Promise<Buffer> {
    const upstream = this.#groups.get(name) ?? this.#bastions.get(name)?.succession;
    if (upstream === undefined) throw new Error(`no bastion or group is named ${name}`);
    return upstream.readFile(path, maxBytes);
  }

  start(): void {
    for (const { succession } of this.#bastions.values()) succession.start();
  }

  /**
   * The first authenticated connection to a bastion that carries flows, as `NAME (how)`. Rejects when none of
   * them can be had without a change of the configuration; trouble of the network is retried for ever.
   */
  whenReady(): Promise<string> {
    return this.#ready.promise;
  }

  /** Takes over what differs in `next`: bastions that are new, changed or gone, and the waits. */
  async follow(next: Config): Promise<void> {
    const before = this.#config;
    const fresh = next.bastions.filter(({ name }) => !this.#bastions.has(name));
    const added = fresh.map((settings) => this.#make(next, settings));
    const moves = next.bastions.flatMap((settings) => {
      const member = this.#bastions.get(settings.name);
      if (member === undefined) return [];
      const changed = changes({ ...before, bastions: [member.settings] }, { ...next, bastions: [settings] });
      const moved = changed.some((key) => /^bastions\[0\]\.(host|port|jump)$/.test(key));
      const addresses = moved ? this.#addresses(settings) : member.addresses;
      return [{ member, settings, changed, addresses }];
    });
    // Before anything is changed: a name without an address refuses the whole.
    for (const { addresses } of [...added, ...moves]) {
      const error = await addresses?.resolve();
      if (error !== undefined) throw error;
    }
    this.#config = next;
    // Before those that are reached through them.
    for (const member of added) this.#add(member);
    for (const { member, settings, changed, addresses } of moves) {
      member.settings = settings;
      member.addresses = addresses;
      const touches = (keys: RegExp): boolean => changed.some((key) => keys.test(key));
      if (!touches(CONNECTION)) continue;
      member.succession.replace(this.#options(next, settings, addresses), touches(TRUST));
    }
    for (const { succession } of added) succession.start();
    for (const { succession, settings } of this.#bastions.values()) {
      succession.adjust({
        connectHoldMs: next.connectHold,
        dialTimeoutMs: next.dialTimeout,
        maxConnections: settings.maxConnections,
      });
    }
    this.#regroup();
    const kept = new Set(next.bastions.map(({ name }) => name));
    for (const name of this.#bastions.keys()) if (!kept.has(name)) this.#retire(name);
  }

  /** Ends all connections in order. */
  async stop(): Promise<void> {
    for (const group of this.#groups.values()) group.stop();
    const stop = (all: readonly Succession[]): Promise<unknown> =>
      Promise.all(all.map((succession) => succession.stop()));
    const depths = new Map<number, Succession[]>();
    for (const [name, { succession }] of this.#bastions) {
      const depth = depthOf(name, (hop) => this.#bastions.get(hop)?.settings.jump);
      depths.set(depth, [...(depths.get(depth) ?? []), succession]);
    }
    // Those behind others first: their last words go through them.
    for (const depth of [...depths.keys()].toSorted((a, b) => b - a)) await stop(depths.get(depth)!);
    await stop([...this.#retired]);
  }

  #make(config: Config, settings: Settings): Member {
    const { name } = settings;
    const addresses = this.#addresses(settings);
    const succession = new Succession(this.#options(config, settings, addresses), () => this.#moved(name));
    const host = new JumpHost(name, succession);
    return { settings, addresses, succession, host, state: 'connecting', connects: 0, losses: 0 };
  }

  #addresses({ host, port, jump }: Settings): Addresses | undefined {
    if (jump !== undefined) return undefined;
    const connection = this.#connection;
    return new Addresses(host, port, connection.lookup, (found) => connection.onAddresses?.(found));
  }

  #add(member: Member): void {
    this.#bastions.set(member.settings.name, member);
    this.#dialers.set(member.settings.name, member.succession);
  }

  #retire(name: string): void {
    const { succession, host } = this.#bastions.get(name)!;
    this.#bastions.delete(name);
    if (this.#dialers.get(name) === succession) this.#dialers.delete(name);
    this.#retired.add(succession);
    this.#connection.log.info(
      { bastion: name, channels: succession.size },
      'the bastion is no longer configured; its connection ends with its last flow',
    );
    void this.#drain(succession, host);
  }

  async #drain(succession: Succession, host: JumpHost): Promise<void> {
    await succession.retire(this.#lastResort);
    this.#retired.delete(succession);
    // Whoever waits for it to be connected waits in vain.
    host.changed();
  }

  get #lastResort(): Group | Succession {
    const name = this.lastResort;
    return this.#groups.get(name) ?? this.#bastions.get(name)!.succession;
  }

  /** Makes the groups those of the configuration. All of its bastions are there. */
  #regroup(): void {
    const wanted = groupsOf(this.#config);
    for (const { name, policy, bastions } of wanted) {
      const { log } = this.#connection;
      const group = this.#groups.get(name) ?? new Group({ name, log, now: () => performance.now() });
      const members = bastions.map((bastion) => this.#bastions.get(bastion)!.succession);
      group.set(policy, members, this.#config.connectHold);
      this.#groups.set(name, group);
      this.#dialers.set(name, group);
    }
    for (const [name, group] of this.#groups) {
      if (wanted.some((other) => other.name === name)) continue;
      this.#groups.delete(name);
      if (this.#dialers.get(name) === group) this.#dialers.delete(name);
      group.retire(this.#lastResort);
    }
  }

  /** Those that are reached through the bastion. */
  #behind(name: string): readonly Member[] {
    return [...this.#bastions.values()].filter(({ settings }) => settings.jump === name);
  }

  /** The new connection of a bastion is in use: what goes through the old one follows, so that it can end. */
  #moved(name: string): void {
    for (const { succession, settings, addresses } of this.#behind(name)) {
      succession.renew(this.#options(this.#config, settings, addresses));
    }
  }

  /** How the server is reached, through another bastion or by a socket of the namespace. */
  #way(
    { host, port, jump, keepAlive, keepAliveMisses }: Settings,
    addresses: Addresses | undefined,
  ): Pick<BastionOptions, 'endpoints' | 'socketFactory' | 'through' | 'onWanted'> {
    const { native, held, own } = this.#connection;
    if (jump === undefined) {
      return {
        endpoints: () => addresses!.get(),
        socketFactory: markedSockets(native, FWMARK, keepAlive * keepAliveMisses, held, own),
      };
    }
    // Looked for each time, since it may come and go with the configuration.
    const outer = (): Member => {
      const member = this.#bastions.get(jump);
      if (member === undefined) throw new Error(`jump host ${jump}: it is no longer configured`);
      return member;
    };
    return {
      endpoints: () => outer().host.reach(host, port),
      socketFactory: (to, onread) => outer().host.sockets(native)(to, onread),
      through: jump,
      onWanted: () => this.#bastions.get(jump)?.succession.want(),
    };
  }

  #options(config: Config, settings: Settings, addresses: Addresses | undefined): BastionOptions {
    const { log, engine } = this.#connection;
    const known = knownName(settings);
    return {
      name: settings.name,
      ...this.#way(settings, addresses),
      hostName: known.host,
      port: known.port,
      user: settings.user,
      login: loginOf(settings, (_key, error) => {
        throw error;
      }),
      knownHosts: trustOf(settings),
      algorithms: settings.algorithms,
      engine,
      log,
      connectHoldMs: config.connectHold,
      dialTimeoutMs: config.dialTimeout,
      maxConnections: settings.maxConnections,
      keepAliveMs: settings.keepAlive,
      keepAliveMisses: settings.keepAliveMisses,
      handshakeTimeoutMs: settings.handshakeTimeout,
      rekeyIntervalMs: config.rekeyInterval,
      // While another bastion works, one that lets nobody in is no reason to end.
      persistent: true,
      onState: (status) => this.#changed(settings.name, status),
      onRoundTrip: (ms) => this.#connection.onRoundTrip?.(settings.name, ms),
    };
  }

  #changed(name: string, status: BastionStatus): void {
    for (const group of this.#groups.values()) group.changed(status);
    const member = this.#bastions.get(name);
    if (member !== undefined) count(member, status);
    member?.host.changed();
    if (status.state === 'ready') for (const { succession } of this.#behind(name)) succession.wake();
    const carriers = carriersOf(this.#config);
    if (!carriers.has(name)) return;
    if (status.state === 'ready') this.#ready.resolve(`${name} (${status.reason})`);
    if (status.fatal === undefined) return;
    const errors = [...carriers].map((other) => this.#bastions.get(other)?.succession.status.fatal);
    if (!errors.includes(undefined)) this.#ready.reject(errors[0]);
  }
}

function count(member: Member, { state }: BastionStatus): void {
  if (state === 'ready') member.connects++;
  else if (state === 'down' && member.state === 'ready') member.losses++;
  member.state = state;
}

/** A bastion in use. */
interface Member {
  settings: Settings;
  /** None when it is reached through another one, whose server resolves its name. */
  addresses: Addresses | undefined;
  readonly succession: Succession;
  /** The way to others. */
  readonly host: JumpHost;
  /** As last told, and as in `UpstreamState`. */
  state: BastionStatus['state'];
  connects: number;
  losses: number;
}
