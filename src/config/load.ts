import { ProblemsError } from '../core/errors.ts';
import type { ErrorCode, Problem } from '../core/errors.ts';
import type {
  BastionConfig,
  BastionCredentials,
  Config,
  GroupConfig,
  GroupPolicy,
  HostConfig,
} from './config.ts';
import { readCredentials } from './credentials.ts';
import type { Placed } from './credentials.ts';
import { readEnvironment } from './environment.ts';
import type { Environment } from './environment.ts';
import { readConfigFile, readRuleText } from './file.ts';
import type { FileItem, FileSettings } from './file.ts';
import { checkGroups } from './groups.ts';
import type { PlacedGroup } from './groups.ts';
import { checkJumps } from './jumps.ts';
import type { PlacedJump } from './jumps.ts';
import type { BastionUrl } from './kind.ts';
import type { Rule } from '../policy/rule.ts';
import { fileReader } from './read-file.ts';
import type { ReadFile } from './read-file.ts';
import { readRules } from './rules.ts';
import { setting } from './settings.ts';
import type { SettingId, SettingValues } from './settings.ts';
import { originOf, readValue } from './value.ts';
import type { Given } from './value.ts';

/** Everything a configuration is made of. In order of precedence: flags, environment, file, defaults. */
export interface Sources {
  readonly flags: ReadonlyMap<SettingId, readonly Given[]>;
  readonly environment: Environment;
  /** Problems already found in the command line, to be reported with the rest. */
  readonly problems?: readonly Problem[];
  /** Where files come from; the file system when absent. */
  readonly readFile?: ReadFile;
  /**
   * Judges what was read of a bastion when something is wrong already, so that all is told at once.
   * The places of its problems are keys of the bastion.
   */
  readonly judge?: (bastion: JudgedBastion) => Promise<readonly Problem[]>;
  /** Told of every file that is about to be read, whether it is there or not. */
  onFile?(path: string): void;
}

/** A bastion with all of its files that could be read. */
export type JudgedBastion = Pick<BastionConfig, 'auth' | 'knownHostsFile'> & {
  readonly credentials: BastionCredentials;
};

/** A configuration with, for each key, where its value came from. */
export interface Loaded<C> {
  readonly config: C;
  /** By path such as `tun.mtu` or `bastions[0].host`: `--flag`, `NETPROXY_NAME`, `file:line:column` or `default`. */
  readonly origins: ReadonlyMap<string, string>;
}

/** Reads and checks everything, or throws one ProblemsError that names every problem. */
export async function loadConfig(sources: Sources): Promise<Loaded<Config>> {
  const loader = new Loader(sources);
  await loader.readSources();
  const host = loader.host();
  const bastions = loader.bastions(true);
  const groups = loader.groups(true);
  const rules = await loader.rules(true);
  await loader.judge(bastions);
  return loader.finish(() => ({
    bastions: bastions as Config['bastions'],
    ...groups(),
    ...host(),
    rules: rules(),
  }));
}

/**
 * The same without bastions, for commands that only look after the host: neither a bastion nor a
 * readable key is needed to see or release what a killed predecessor left.
 */
export async function loadHostConfig(sources: Sources): Promise<Loaded<HostConfig>> {
  const loader = new Loader(sources);
  await loader.readSources();
  const host = loader.host();
  loader.bastions(false);
  loader.groups(false);
  const rules = await loader.rules(false);
  return loader.finish(() => ({ ...host(), rules: rules() }));
}

/** Settings of which a bastion needs one; `auth` alone has the person at the terminal asked. */
const WAYS_IN = [
  'bastions[].identityFile',
  'bastions[].agent',
  'bastions[].passwordFile',
  'bastions[].keyboardInteractiveFile',
  'bastions[].auth',
] as const satisfies readonly SettingId[];
const WAYS_IN_TEXT = 'another way to log in: agent, passwordFile, keyboardInteractiveFile, auth';

/** A problem of a key, with the flag, variable or line that gave it in the place of the key. */
export function placed(problem: Problem, origins: ReadonlyMap<string, string>): Problem {
  const from = origins.get(problem.where) ?? 'default';
  if (from === 'default') return problem;
  const where = from.startsWith('-') || /^NETPROXY_\w+$/.test(from) ? from : `${from} ${problem.where}`;
  return { ...problem, where };
}

/** What a bastion that is given by URL has in place of keys of the file. */
interface UrlItem {
  readonly url: BastionUrl | undefined;
  readonly name: string;
  readonly jump: Placed<string> | undefined;
}

/** What may only follow from a file that could not be read or a setting that is wrong. */
const FOLLOWING: ReadonlySet<ErrorCode> = new Set(['AUTH_UNCONFIGURED', 'CERTIFICATE_INVALID']);

class Loader {
  readonly #sources: Sources;
  readonly #problems: Problem[];
  readonly #origins = new Map<string, string>();
  /** Bastions with which nothing was wrong. */
  readonly #whole = new Set<number>();
  #environment: ReadonlyMap<SettingId, readonly Given[]> = new Map();
  #file: FileSettings = { given: new Map(), lists: new Map() };
  /** Names of bastions and groups, with their places. */
  readonly #names = new Map<string, string>();

  constructor(sources: Sources) {
    this.#sources = sources;
    this.#problems = [...(sources.problems ?? [])];
  }

  async readSources(): Promise<void> {
    this.#environment = readEnvironment(this.#sources.environment, this.#problems);
    const path = this.#first('config', undefined);
    if (path === undefined) return;
    const read = this.#reader('CONFIG_UNREADABLE');
    const where = this.#given('config', undefined)?.[0]?.where ?? path;
    this.#file = await readConfigFile(path, where, read, this.#problems);
  }

  /** Reads all that concerns the host. The result is made by the function, once no problem stands. */
  host(): () => Omit<HostConfig, 'rules'> {
    const value = <I extends SettingId>(id: I): SettingValues[I] =>
      this.#first(id, this.#file.given, id) as SettingValues[I];
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
      onExit: value('onExit'),
      connectHold: value('connectHold'),
      dialTimeout: value('dialTimeout'),
      keepAlive: value('keepAlive'),
      keepAliveMisses: value('keepAliveMisses'),
      handshakeTimeout: value('handshakeTimeout'),
      rekeyInterval: value('rekeyInterval'),
      watch: value('watch') === 'true',
      log: { level: value('log.level'), format: value('log.format') },
    };
    return () => host;
  }

  /** `complete`: at least one bastion, none lacking anything, and every file read. */
  bastions(complete: boolean): readonly (BastionConfig & { credentials: BastionCredentials | undefined })[] {
    const urls = this.#urls();
    const items: readonly (FileItem & Partial<UrlItem>)[] =
      urls.length > 0 ? urls : (this.#file.lists.get('bastions') ?? []);
    // When the flag or the file is broken, what it would have given is not also missing.
    const broken =
      this.#sources.flags.has('bastion') || this.#problems.some(({ code }) => code === 'CONFIG_UNREADABLE');
    if (items.length === 0 && complete && !broken) {
      this.#problems.push({
        code: 'CONFIG_INVALID',
        where: '--bastion',
        message: 'no bastion is given; netproxy needs one to forward to',
        hint: 'Give --bastion ssh://USER@HOST, set NETPROXY_BASTION, or list "bastions" in the file.',
      });
    }
    const jumps: PlacedJump[] = [];
    const bastions = items.map(({ where, given, url, name: urlName, jump: urlJump }, index) => {
      const problems = this.#problems.length;
      const path = (key: string): string => `bastions[${index}].${key}`;
      const value = <I extends SettingId>(id: I): SettingValues[I] => {
        const key = id.slice('bastions[].'.length);
        if (complete && setting(id).required === true && this.#given(id, given) === undefined)
          this.#missing(id, where, key);
        return this.#first(id, given, path(key)) as SettingValues[I];
      };
      const fromUrl = <T>(key: string, part: T | undefined, from = where): T => {
        if (part !== undefined) this.#origins.set(path(key), from);
        return part as T;
      };
      const list = <I extends SettingId>(id: I): Placed<SettingValues[I]>[] =>
        this.#placed(id, given, path(id.slice('bastions[].'.length)));
      const values = <T>(placed: readonly Placed<T>[]): T[] => placed.map(({ value: each }) => each);
      const identities = list('bastions[].identityFile');
      const passphrases = list('bastions[].identityPassphraseFile');
      const certificates = list('bastions[].certificateFile');
      const auth = list('bastions[].auth');
      if (complete && !WAYS_IN.some((id) => this.#given(id, given) !== undefined)) {
        this.#missing(
          'bastions[].identityFile',
          where,
          'identityFile',
          ` of a private key, or ${WAYS_IN_TEXT}`,
        );
      }
      const bastion: BastionConfig = {
        name: urls.length === 0 ? value('bastions[].name') : fromUrl('name', urlName),
        host: urls.length === 0 ? value('bastions[].host') : fromUrl('host', url?.host),
        port: urls.length === 0 ? value('bastions[].port') : fromUrl('port', url?.port),
        user: urls.length === 0 ? value('bastions[].user') : fromUrl('user', url?.user),
        identityFile: values(identities),
        identityPassphraseFile: values(passphrases),
        certificateFile: values(certificates),
        agent: value('bastions[].agent'),
        passwordFile: value('bastions[].passwordFile'),
        keyboardInteractiveFile: value('bastions[].keyboardInteractiveFile'),
        auth: values(auth),
        knownHostsFile: value('bastions[].knownHostsFile'),
        jump: urls.length === 0 ? value('bastions[].jump') : fromUrl('jump', urlJump?.value, urlJump?.where),
        maxConnections: value('bastions[].maxConnections'),
      };
      const jumpAt = urlJump?.where ?? this.#where('bastions[].jump', given) ?? where;
      jumps.push({
        name: bastion.name,
        jump: bastion.jump === undefined ? undefined : { value: bastion.jump, where: jumpAt },
      });
      this.#checkName('bastion', bastion.name, this.#where('bastions[].name', given) ?? where);
      if (!complete) return { ...bastion, credentials: undefined };
      const one = (id: SettingId, file: string | undefined): Placed<string> | undefined =>
        file === undefined ? undefined : { value: file, where: this.#where(id, given) ?? where };
      const credentials = readCredentials(
        {
          identities,
          passphrases,
          certificates,
          password: one('bastions[].passwordFile', bastion.passwordFile),
          answers: one('bastions[].keyboardInteractiveFile', bastion.keyboardInteractiveFile),
          knownHosts: one('bastions[].knownHostsFile', bastion.knownHostsFile),
        },
        this.#agentSocket(bastion.agent, this.#where('bastions[].agent', given) ?? where),
        this.#reader('CREDENTIAL_UNREADABLE'),
        this.#problems,
      );
      if (this.#problems.length === problems) this.#whole.add(index);
      return { ...bastion, credentials };
    });
    checkJumps(jumps, this.#problems);
    return bastions;
  }

  /** The bastions that flags or variables give by URL: those to use, and those to go through, in order. */
  #urls(): (FileItem & UrlItem)[] {
    const read = (id: 'bastion' | 'jump', given: Given): FileItem & { url: BastionUrl | undefined } => ({
      where: given.where,
      given: new Map(),
      url: readValue(setting(id), given, this.#problems),
    });
    const bastions = this.#given('bastion', undefined) ?? [];
    const hops = (this.#given('jump', undefined) ?? []).flatMap(({ text, where }) =>
      text.split(',').map((hop) => ({ text: hop, where })),
    );
    if (hops.length > 0 && bastions.length === 0 && !this.#sources.flags.has('bastion')) {
      this.#problems.push({
        code: 'CONFIG_INVALID',
        where: hops[0]!.where,
        message: 'found without --bastion, to which it is the way; allowed: both, or none of them',
        hint: 'In the file, list the bastion to go through and give its name as "jump" of the other.',
      });
    }
    const numbered = (name: string, index: number): string => (index === 0 ? name : `${name}${index + 1}`);
    const through = (index: number): Placed<string> | undefined =>
      index < 0 ? undefined : { value: numbered('jump', index), where: hops[index]!.where };
    return [
      ...bastions.map((given, index) => ({
        ...read('bastion', given),
        name: numbered('main', index),
        jump: through(hops.length - 1),
      })),
      ...hops.map((given, index) => ({
        ...read('jump', given),
        name: numbered('jump', index),
        jump: through(index - 1),
      })),
    ];
  }

  /** To be called after `bastions`, whose names count. The result is made once no problem stands. */
  groups(complete: boolean): () => { groups: readonly GroupConfig[]; groupPolicy: GroupPolicy } {
    const bastions = [...this.#names.keys()];
    const items = this.#given('bastion', undefined) ? [] : (this.#file.lists.get('groups') ?? []);
    const groups = items.map(({ where, given }, index): PlacedGroup => {
      const path = (key: string): string => `groups[${index}].${key}`;
      for (const key of ['name', 'bastions'] as const) {
        const found = this.#given(`groups[].${key}`, given);
        if (complete && (found ?? []).length === 0) this.#missing(`groups[].${key}`, where, key);
      }
      const name = this.#first('groups[].name', given, path('name'));
      const at = this.#where('groups[].name', given) ?? where;
      this.#checkName('group or bastion', name, at);
      return {
        name,
        where: at,
        bastions: this.#placed('groups[].bastions', given, path('bastions')),
        policy: this.#first('groups[].policy', given, path('policy')),
      };
    });
    if (complete) checkGroups(groups, bastions, this.#problems);
    const groupPolicy = this.#first('groups[].policy', undefined);
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
    const texts = this.#given('rule', undefined);
    let items: readonly FileItem[] = this.#file.lists.get('rules') ?? [];
    if (texts !== undefined) {
      const own: FileItem[] = [];
      for (const [index, { text, where }] of texts.entries()) {
        const place = texts.length > 1 ? `${where}[${index}]` : where;
        own.push(...(await readRuleText({ text, where: place }, own.length, this.#problems)));
      }
      items = own;
    }
    const names = complete ? [...this.#names.keys()] : undefined;
    return readRules(items, names, this.#problems, this.#origins);
  }

  /** When something is wrong already, the parts are asked at once what else is. */
  async judge(
    bastions: readonly (BastionConfig & { credentials: BastionCredentials | undefined })[],
  ): Promise<void> {
    const { judge } = this.#sources;
    if (judge === undefined || this.#problems.length === 0) return;
    for (const [index, { credentials, auth, knownHostsFile }] of bastions.entries()) {
      if (credentials === undefined) continue;
      for (const problem of await judge({ credentials, auth, knownHostsFile })) {
        if (!this.#whole.has(index) && FOLLOWING.has(problem.code)) continue;
        const where = `bastions[${index}].${problem.where}`;
        this.#problems.push(placed({ ...problem, where }, this.#origins));
      }
    }
  }

  #reader(code: ErrorCode): ReadFile {
    const read = this.#sources.readFile ?? fileReader(code);
    return (path) => {
      this.#sources.onFile?.(path);
      return read(path);
    };
  }

  /** The one way out: the frozen result, or every problem. */
  finish<C extends object>(make: () => C): Loaded<C> {
    if (this.#problems.length > 0) throw new ProblemsError(this.#problems);
    return { config: deepFreeze(make()), origins: this.#origins };
  }

  #checkName(what: string, name: string | undefined, where: string): void {
    if (name === undefined) return;
    const other = this.#names.get(name);
    this.#names.set(name, where);
    if (other === undefined) return;
    this.#problems.push({
      code: 'CONFIG_INVALID',
      where,
      message: `found "${name}", which is the name of another ${what} (${other}); allowed: names that differ`,
      hint: 'Rename one of the two.',
    });
  }

  /** The path that `agent` stands for. */
  #agentSocket(agent: string | undefined, where: string): string | undefined {
    if (agent !== 'true') return agent === 'false' ? undefined : agent;
    const socket = this.#sources.environment['SSH_AUTH_SOCK'];
    if (socket !== undefined && socket !== '') return socket;
    const message = 'found "true", but SSH_AUTH_SOCK, which names the socket of the agent, is not set';
    if (!this.#problems.some((other) => other.where === where && other.message === message)) {
      const hint = 'Set SSH_AUTH_SOCK, or give the path of the socket in place of "true".';
      this.#problems.push({ code: 'CONFIG_INVALID', where, message, hint });
    }
    return undefined;
  }

  #missing(id: SettingId, where: string, key: string, more = ''): void {
    const { flag, env, kind } = setting(id);
    const ways = [
      flag && `give --${flag} ${kind.placeholder}`,
      env && `set ${env}`,
      `write "${key}:" in the file`,
    ];
    const fix = ways.filter(Boolean).join(', ');
    this.#problems.push({
      code: 'CONFIG_INVALID',
      where,
      message: `${key} is missing; allowed: ${kind.allowed}${more}`,
      hint: `${fix[0]?.toUpperCase()}${fix.slice(1)}.`,
    });
  }

  /** What the strongest source gives, or undefined. */
  #given(
    id: SettingId,
    file: ReadonlyMap<SettingId, readonly Given[]> | undefined,
  ): readonly Given[] | undefined {
    return this.#sources.flags.get(id) ?? this.#environment.get(id) ?? file?.get(id);
  }

  #first<I extends SettingId>(
    id: I,
    file: FileSettings['given'] | undefined,
    path?: string,
  ): SettingValues[I] | undefined {
    const row = setting(id);
    const given = this.#given(id, file)?.[0];
    if (path !== undefined && (given ?? row.default) !== undefined) this.#origins.set(path, originOf(given));
    if (given !== undefined) return readValue(row, given, this.#problems);
    return row.default === undefined ? undefined : row.kind.parse(row.default);
  }

  #layers(): HostConfig['layers'] {
    const layers = this.#all('layers');
    return layers.length === 0 ? ['routes', 'nftables'] : [...new Set(layers)];
  }

  #all<I extends SettingId>(id: I): SettingValues[I][] {
    return this.#placed(id, this.#file.given, id).map(({ value }) => value);
  }

  /** The values of a list, each with its place. */
  #placed<I extends SettingId>(id: I, file: FileSettings['given'], path: string): Placed<SettingValues[I]>[] {
    const given = this.#given(id, file);
    this.#origins.set(path, originOf(given?.[0]));
    return (given ?? []).flatMap((each) => {
      const value = readValue(setting(id), each, this.#problems);
      return value === undefined ? [] : [{ value, where: each.where }];
    });
  }

  #where(id: SettingId, file: FileSettings['given']): string | undefined {
    return this.#given(id, file)?.[0]?.where;
  }
}

/** Freezes maps and lists. Buffers cannot be frozen; those that matter are inside a frozen Secret. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
