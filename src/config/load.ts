import { ProblemsError } from '../core/errors.ts';
import type { ErrorCode, Problem } from '../core/errors.ts';
import { readBastions } from './bastions.ts';
import type { ReadBastions } from './bastions.ts';
import type {
  BastionConfig,
  BastionCredentials,
  Config,
  GroupConfig,
  GroupPolicy,
  HostConfig,
  RoutingConfig,
} from './config.ts';
import { readToken, withToken } from './control-token.ts';
import { checkFakeRanges, checkFarResolvers } from './dns-settings.ts';
import { readRuleText } from './file.ts';
import type { FileItem } from './file.ts';
import { checkGroups } from './groups.ts';
import type { PlacedGroup } from './groups.ts';
import { SettingReader } from './reader.ts';
import type { ReaderSources } from './reader.ts';
import type { Rule } from '../policy/rule.ts';
import { readRules, ruleWarnings } from './rules.ts';
import type { SettingId, SettingValues } from './settings.ts';
import type { Warning } from './ssh-config/host.ts';

/** Everything a configuration is made of. */
export interface Sources extends ReaderSources {
  /**
   * Judges what was read of a bastion when something is wrong already, so that all is told at once.
   * The places of its problems are keys of the bastion.
   */
  readonly judge?: (bastion: JudgedBastion) => Promise<readonly Problem[]>;
}

/** A bastion with all of its files that could be read. */
export type JudgedBastion = Pick<BastionConfig, 'auth' | 'host' | 'port' | 'hostKeyAlias' | 'tofu'> & {
  readonly credentials: BastionCredentials;
};

/** A configuration with, for each key, where its value came from. */
export interface Loaded<C> {
  readonly config: C;
  /** By path such as `tun.mtu` or `bastions[0].host`: `--flag`, `NETPROXY_NAME`, `file:line:column` or `default`. */
  readonly origins: ReadonlyMap<string, string>;
  /** Remarks on what ssh_config says and was not taken over. */
  readonly warnings: readonly Warning[];
}

/** Reads and checks everything, or throws one ProblemsError that names every problem. */
export async function loadConfig(sources: Sources): Promise<Loaded<Config>> {
  const loader = new Loader(sources);
  await loader.readFile();
  const host = loader.host();
  const read = await loader.bastions(true);
  const groups = loader.groups(true);
  const rules = await loader.rules(true);
  const token = loader.token();
  await loader.judge(read);
  const make = (): Config => ({
    bastions: read.bastions as Config['bastions'],
    sshConfig: read.sshConfig,
    ...groups(),
    ...withToken({ ...host(), rules: rules() }, token),
  });
  const loaded = loader.finish(make, read.warnings);
  return { ...loaded, warnings: [...read.warnings, ...ruleWarnings(loaded.config.rules)] };
}

/**
 * The same without bastions, for commands that only look after the host: neither a bastion nor a
 * readable key is needed to see or release what a killed predecessor left.
 */
export async function loadHostConfig(sources: Sources): Promise<Loaded<HostConfig>> {
  const loader = new Loader(sources);
  await loader.readFile();
  const host = loader.host();
  await loader.bastions(false);
  loader.groups(false);
  const rules = await loader.rules(false);
  return loader.finish(() => ({ ...host(), rules: rules() }));
}

/** The same with rules that name what there is, for commands that only say where flows go. Reads no key. */
export async function loadRouting(sources: Sources): Promise<Loaded<RoutingConfig>> {
  const loader = new Loader(sources);
  await loader.readFile();
  const host = loader.host();
  const { bastions } = await loader.bastions(false);
  const groups = loader.groups(false);
  const rules = await loader.rules(bastions.length > 0);
  return loader.finish(() => ({ bastions, ...groups(), ...host(), rules: rules() }));
}

/** A problem of a key, with the flag, variable or line that gave it in the place of the key. */
export function placed(problem: Problem, origins: ReadonlyMap<string, string>): Problem {
  const from = origins.get(problem.where) ?? 'default';
  if (from === 'default') return problem;
  const where = from.startsWith('-') || /^NETPROXY_\w+$/.test(from) ? from : `${from} ${problem.where}`;
  return { ...problem, where };
}

/** What may only follow from a file that could not be read or a setting that is wrong. */
const FOLLOWING: ReadonlySet<ErrorCode> = new Set(['AUTH_UNCONFIGURED', 'CERTIFICATE_INVALID']);

class Loader {
  readonly #reader: SettingReader;
  readonly #sources: Sources;

  constructor(sources: Sources) {
    this.#sources = sources;
    this.#reader = new SettingReader(sources);
  }

  async readFile(): Promise<void> {
    await this.#reader.readFile();
  }

  /** Reads all that concerns the host. The result is made by the function, once no problem stands. */
  host(): () => Omit<HostConfig, 'rules'> {
    const value = <I extends SettingId>(id: I): SettingValues[I] =>
      this.#reader.first(id, this.#reader.file.given, id) as SettingValues[I];
    const host = {
      tun: {
        name: value('tun.name'),
        mtu: value('tun.mtu'),
        address4: value('tun.address4'),
        address6: value('tun.address6'),
      },
      local: [...new Set(this.#all('local'))],
      captured: [...new Set(this.#all('captured'))],
      metadata: value('metadata'),
      layers: this.#layers(),
      strict: value('strict') === 'true',
      dns: {
        upstream: this.#all('dns.upstream').filter((each) => each !== 'auto'),
        resolvers: this.#all('dns.resolvers').filter((each) => each !== 'auto'),
        local: this.#all('dns.local'),
        far: this.#all('dns.far'),
        aaaa: value('dns.aaaa'),
        port: value('dns.port'),
        stale: value('dns.stale'),
        fake4: value('dns.fake4'),
        fake6: value('dns.fake6'),
        fakeFile: value('dns.fakeFile'),
      },
      onExit: value('onExit'),
      connectHold: value('connectHold'),
      dialTimeout: value('dialTimeout'),
      keepAlive: value('keepAlive'),
      keepAliveMisses: value('keepAliveMisses'),
      handshakeTimeout: value('handshakeTimeout'),
      rekeyInterval: value('rekeyInterval'),
      watch: value('watch') === 'true',
      user: value('user'),
      seccomp: value('seccomp') === 'on',
      control: {
        socket: value('control.socket'),
        listen: value('control.listen'),
        tokenFile: value('control.tokenFile'),
        token: undefined,
      },
      readyTarget: value('readyTarget'),
      log: { level: value('log.level'), format: value('log.format'), flows: value('log.flows') },
    };
    checkFakeRanges(
      [
        ['dns.fake4', host.dns.fake4, host.tun.address4],
        ['dns.fake6', host.dns.fake6, host.tun.address6],
      ],
      this.#reader.origins,
      this.#reader.problems,
    );
    return () => host;
  }

  /** As `readBastions`. */
  bastions(complete: boolean): Promise<ReadBastions> {
    return readBastions(this.#reader, complete);
  }

  /** To be called after `bastions`, whose names count. The result is made once no problem stands. */
  groups(complete: boolean): () => { groups: readonly GroupConfig[]; groupPolicy: GroupPolicy } {
    const bastions = this.#reader.names;
    const items = this.#reader.given('bastion', undefined)
      ? []
      : (this.#reader.file.lists.get('groups') ?? []);
    const groups = items.map(({ where, given }, index): PlacedGroup => {
      const path = (key: string): string => `groups[${index}].${key}`;
      for (const key of ['name', 'bastions'] as const) {
        const found = this.#reader.given(`groups[].${key}`, given);
        if (complete && (found ?? []).length === 0) this.#reader.missing(`groups[].${key}`, where, key);
      }
      const name = this.#reader.first('groups[].name', given, path('name'));
      const at = this.#reader.where('groups[].name', given) ?? where;
      this.#reader.name('group or bastion', name, at);
      return {
        name,
        where: at,
        bastions: this.#reader.placed('groups[].bastions', given, path('bastions')),
        policy: this.#reader.first('groups[].policy', given, path('policy')),
      };
    });
    if (complete) {
      checkGroups(groups, bastions, this.#reader.problems);
      const resolvers = this.#reader.placed('dns.upstream', this.#reader.file.given, 'dns.upstream');
      checkFarResolvers(resolvers, this.#reader.names, this.#reader.problems);
    }
    const groupPolicy = this.#reader.first('groups[].policy', undefined);
    return () => ({
      groups: groups.map(({ name, bastions: members, policy }) => ({
        name: name!,
        bastions: members.map(({ value }) => value),
        policy: policy!,
      })),
      groupPolicy: groupPolicy!,
    });
  }

  /** To be called after `groups`: rules name bastions and groups. The result is made once no problem stands. */
  async rules(complete: boolean): Promise<() => readonly Rule[]> {
    const texts = this.#reader.given('rule', undefined);
    let items: readonly FileItem[] = this.#reader.file.lists.get('rules') ?? [];
    if (texts !== undefined) {
      const own: FileItem[] = [];
      for (const [index, { text, where }] of texts.entries()) {
        const place = texts.length > 1 ? `${where}[${index}]` : where;
        own.push(...(await readRuleText({ text, where: place }, own.length, this.#reader.problems)));
      }
      items = own;
    }
    const names = complete ? this.#reader.names : undefined;
    return readRules(items, names, this.#reader.problems, this.#reader.origins);
  }

  /** That of the control interface. */
  token(): ReturnType<typeof readToken> {
    return readToken(this.#reader);
  }

  /** When something is wrong already, the parts are asked at once what else is. */
  async judge({ bastions, whole }: ReadBastions): Promise<void> {
    const { judge } = this.#sources;
    if (judge === undefined || this.#reader.problems.length === 0) return;
    for (const [index, { credentials, ...bastion }] of bastions.entries()) {
      if (credentials === undefined) continue;
      for (const problem of await judge({ ...bastion, credentials })) {
        if (!whole.has(index) && FOLLOWING.has(problem.code)) continue;
        const where = `bastions[${index}].${problem.where}`;
        this.#reader.problems.push(placed({ ...problem, where }, this.#reader.origins));
      }
    }
  }

  /** The one way out: the frozen result, or every problem. */
  finish<C extends object>(make: () => C, warnings: readonly Warning[] = []): Loaded<C> {
    if (this.#reader.problems.length > 0) throw new ProblemsError(this.#reader.problems);
    return { config: deepFreeze(make()), origins: this.#reader.origins, warnings };
  }

  #layers(): HostConfig['layers'] {
    const layers = this.#all('layers');
    return layers.length === 0 ? ['routes', 'nftables'] : [...new Set(layers)];
  }

  #all<I extends SettingId>(id: I): SettingValues[I][] {
    return this.#reader.placed(id, this.#reader.file.given, id).map(({ value }) => value);
  }
}

/** Freezes maps and lists. Buffers cannot be frozen; those that matter are inside a frozen Secret. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
