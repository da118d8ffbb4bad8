/**
 * What turns the configuration into upstreams: every bastion connected under its name, and kept true to
 * the configuration while it changes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { changes } from './config/changes.ts';
import type { BastionConfig, Config, GroupConfig } from './config/config.ts';
import type { JudgedBastion } from './config/load.ts';
import type { Dialer } from './core/dialer.ts';
import { NetproxyError } from './core/errors.ts';
import type { Problem } from './core/errors.ts';
import type { Endpoint } from './core/flow.ts';
import type { HeldAddresses } from './core/held-addresses.ts';
import { FWMARK, RESOLVE_OTHERS_MS } from './core/limits.ts';
import type { Log } from './core/log.ts';
import type { Native, NativeEngine } from './core/native.ts';
import type { BastionOptions, BastionStatus } from './ssh/bastion.ts';
import { Group } from './ssh/group.ts';
import { KnownHosts } from './ssh/known-hosts.ts';
import { checkAgent, loadLogin } from './ssh/login.ts';
import type { Login, Wrong } from './ssh/login.ts';
import { markedSockets } from './ssh/marked-socket.ts';
import { resolveBastion } from './ssh/resolve.ts';
import { Succession } from './ssh/succession.ts';
import { processTerminal } from './ssh/terminal.ts';

/** What every connection to a bastion needs of the process. */
export interface Connection {
  readonly native: Native;
  readonly log: Log;
  readonly engine: () => NativeEngine;
  readonly held: HeldAddresses;
}

/** What a bastion is doing, for people and for metrics. */
export interface UpstreamState extends Pick<BastionStatus, 'state' | 'reason'> {
  readonly name: string;
  readonly connections: number;
  /** Channels and opens under way. */
  readonly channels: number;
}

type Settings = Config['bastions'][number];

/** Settings that a connection is made with, and among them those that say which server is the right one. */
const CONNECTION = /^(bastions\[0\]\.(?!(name|maxConnections)$)|keepAlive|handshakeTimeout|rekeyInterval)/;
const TRUST = /^bastions\[0\]\.(host|port|knownHostsFile)$/;

/** Name of the group of all bastions, in logs; none in the configuration can have it. */
const ALL = 'all bastions';

/** Every bastion of the configuration, connected, and the groups of them. */
export class Upstreams {
  readonly #connection: Connection;
  readonly #bastions = new Map<string, Member>();
  readonly #groups = new Map<string, Group>();
  /** Out of the configuration; each is gone when its last flow has ended. */
  readonly #retired = new Set<Succession>();
  readonly #dialers = new Map<string, Dialer>();
  readonly #ready = Promise.withResolvers<string>();
  #config: Config;

  private constructor(config: Config, connection: Connection) {
    this.#config = config;
    this.#connection = connection;
    this.#ready.promise.catch(() => {});
  }

  /**
   * Resolves the names of the bastions; nothing is connected before `start`. Throws the first error when
   * none has an address. One that has none, or none yet, is looked for again.
   */
  static async create(config: Config, connection: Connection): Promise<Upstreams> {
    const upstreams = new Upstreams(config, connection);
    const members = config.bastions.map((settings) => upstreams.#make(config, settings));
    const resolving = members.map(async ({ addresses }) => {
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
  get dialers(): ReadonlyMap<string, Dialer> {
    return this.#dialers;
  }

  /** Where goes what no rule sends elsewhere. */
  get lastResort(): string {
    return (groupsOf(this.#config)[0] ?? this.#config.bastions[0]!).name;
  }

  get states(): readonly UpstreamState[] {
    return [...this.#bastions].map(([name, { succession }]) => {
      const { state, reason } = succession.status;
      return { name, state, reason, connections: succession.connections, channels: succession.size };
    });
  }

  start(): void {
    for (const { succession } of this.#bastions.values()) succession.start();
  }

  /**
   * The first authenticated connection to any bastion, as `NAME (how)`. Rejects when no bastion can be had
   * without a change of the configuration; trouble of the network is retried for ever.
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
      const moved = changed.some((key) => /^bastions\[0\]\.(host|port)$/.test(key));
      const addresses = moved ? new Addresses(settings) : member.addresses;
      return [{ member, settings, changed, addresses }];
    });
    // Before anything is changed: a name without an address refuses the whole.
    for (const { addresses } of [...added, ...moves]) {
      const error = await addresses.resolve();
      if (error !== undefined) throw error;
    }
    this.#config = next;
    for (const { member, settings, changed, addresses } of moves) {
      member.settings = settings;
      member.addresses = addresses;
      const touches = (keys: RegExp): boolean => changed.some((key) => keys.test(key));
      if (!touches(CONNECTION)) continue;
      member.succession.replace(this.#options(next, settings, addresses), touches(TRUST));
    }
    for (const member of added) {
      this.#add(member);
      member.succession.start();
    }
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
    const all = [...this.#retired, ...[...this.#bastions.values()].map(({ succession }) => succession)];
    await Promise.all(all.map((succession) => succession.stop()));
  }

  #make(config: Config, settings: Settings): Member {
    const addresses = new Addresses(settings);
    const succession = new Succession(this.#options(config, settings, addresses));
    return { settings, addresses, succession };
  }

  #add(member: Member): void {
    this.#bastions.set(member.settings.name, member);
    this.#dialers.set(member.settings.name, member.succession);
  }

  #retire(name: string): void {
    const { succession } = this.#bastions.get(name)!;
    this.#bastions.delete(name);
    if (this.#dialers.get(name) === succession) this.#dialers.delete(name);
    this.#retired.add(succession);
    this.#connection.log.info(
      { bastion: name, channels: succession.size },
      'the bastion is no longer configured; its connection ends with its last flow',
    );
    void succession.retire(this.#lastResort).then(() => this.#retired.delete(succession));
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

  #options(config: Config, settings: Settings, addresses: Addresses): BastionOptions {
    const { native, log, engine, held } = this.#connection;
    return {
      name: settings.name,
      endpoints: () => addresses.get(),
      hostName: settings.host,
      port: settings.port,
      user: settings.user,
      login: loginOf(settings, (_key, error) => {
        throw error;
      }),
      knownHosts: knownHostsOf(settings),
      socketFactory: markedSockets(native, FWMARK, config.keepAlive * config.keepAliveMisses, held),
      engine,
      log,
      connectHoldMs: config.connectHold,
      dialTimeoutMs: config.dialTimeout,
      maxConnections: settings.maxConnections,
      keepAliveMs: config.keepAlive,
      keepAliveMisses: config.keepAliveMisses,
      handshakeTimeoutMs: config.handshakeTimeout,
      rekeyIntervalMs: config.rekeyInterval,
      // While another bastion works, one that lets nobody in is no reason to end.
      persistent: true,
      onState: (status) => this.#changed(settings.name, status),
    };
  }

  #changed(name: string, status: BastionStatus): void {
    for (const group of this.#groups.values()) group.changed(status);
    if (status.state === 'ready') this.#ready.resolve(`${name} (${status.reason})`);
    if (status.fatal === undefined) return;
    const errors = [...this.#bastions.values()].map(({ succession }) => succession.status.fatal);
    if (!errors.includes(undefined)) this.#ready.reject(errors[0]);
  }
}

/** The groups in use: without any, all bastions are one. */
function groupsOf({ bastions, groups, groupPolicy: policy }: Config): readonly GroupConfig[] {
  if (groups.length > 0 || bastions.length < 2) return groups;
  return [{ name: ALL, bastions: bastions.map(({ name }) => name), policy }];
}

/** A bastion in use. */
interface Member {
  settings: Settings;
  addresses: Addresses;
  readonly succession: Succession;
}

/** The addresses of a bastion, found once; a name that had none is asked for again before each attempt. */
class Addresses {
  readonly #settings: BastionConfig;
  #found: Promise<readonly Endpoint[]> | undefined;

  constructor(settings: BastionConfig) {
    this.#settings = settings;
  }

  get(): Promise<readonly Endpoint[]> {
    this.#found ??= this.#find();
    return this.#found;
  }

  async #find(): Promise<readonly Endpoint[]> {
    try {
      return await resolveBastion(this.#settings.host, this.#settings.port);
    } catch (error) {
      this.#found = undefined;
      throw error;
    }
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
}

function loginOf(bastion: JudgedBastion, wrong: Wrong): Login {
  return loadLogin({ ...bastion.credentials, auth: bastion.auth }, processTerminal(), wrong);
}

function knownHostsOf(bastion: JudgedBastion): KnownHosts {
  return KnownHosts.parse(bastion.credentials.knownHosts, bastion.knownHostsFile);
}

/** Judges the keys, certificates and known_hosts of all bastions. Touches no network. */
export async function judgeBastions(config: Config): Promise<readonly Problem[]> {
  const found = config.bastions.map(async (bastion, index) =>
    (await judgeBastion(bastion)).map((problem) => ({
      ...problem,
      where: `bastions[${index}].${problem.where}`,
    })),
  );
  return (await Promise.all(found)).flat();
}

/** The same of one bastion, of which some files may lack; places are its keys. */
export async function judgeBastion(bastion: JudgedBastion): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const wrong: Wrong = (key, { code, message, hint }) => {
    problems.push({ code, where: key, message, hint });
  };
  await checkAgent(loginOf(bastion, wrong), wrong);
  try {
    knownHostsOf(bastion);
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    wrong('knownHostsFile', error);
  }
  return problems;
}
