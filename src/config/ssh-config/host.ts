/** What ssh_config says of one host, as settings of a bastion. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { NetproxyError } from '../../core/errors.ts';
import type { Problem } from '../../core/errors.ts';
import type { SettingId } from '../settings.ts';
import type { Given } from '../value.ts';
import { ALGORITHM_KEYWORDS, chooseAlgorithms } from './algorithms.ts';
import type { Directive } from './lines.ts';
import type { Resolved } from './resolve.ts';
import { isFile } from './ssh-config.ts';
import type { SshConfig } from './ssh-config.ts';
import { BadToken, expandPath, expandTokens } from './tokens.ts';
import type { TokenValues } from './tokens.ts';

/** A remark on what was not taken over, or not as it stands. */
export interface Warning {
  readonly where: string;
  readonly message: string;
}

/** What was asked for beside ssh_config, and wins over it. */
export interface Asked {
  readonly host: string;
  readonly user: string | undefined;
  readonly port: string | undefined;
  /** Settings of the bastion that have a value already. */
  readonly given: ReadonlySet<SettingId>;
}

export interface SshHost {
  /** Settings of a bastion, for those that were not given otherwise. */
  readonly given: ReadonlyMap<SettingId, readonly Given[]>;
  /** The hops of ProxyJump, in order. */
  readonly hops: readonly Given[];
  readonly warnings: readonly Warning[];
}

const SSH_PORT = '22';
/** Those of ssh's that are no keys of a token (ssh_config(5), IdentityFile). */
const DEFAULT_IDENTITIES = ['id_rsa', 'id_ecdsa', 'id_ed25519'] as const;
const DEFAULT_WHERE = 'default of ssh';
/** Settings that say how to log in: with one of them given, ssh's own defaults are left out. */
const WAYS_IN: readonly SettingId[] = [
  'bastions[].identityFile',
  'bastions[].agent',
  'bastions[].passwordFile',
  'bastions[].keyboardInteractiveFile',
  'bastions[].auth',
];
const SECOND_MS = 1000;
const UNITS = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 } as const;
/** The bounds of `keepAlive` and `handshakeTimeout`, in seconds. */
const SECONDS_MAX = 3600;

/** Looks a host up. What is wrong goes to the problems of `config`. */
export function sshHost(config: SshConfig, asked: Asked): SshHost {
  return new HostLookup(config, asked).run();
}

class HostLookup {
  readonly #config: SshConfig;
  readonly #asked: Asked;
  readonly #resolved: Resolved;
  readonly #tokens: TokenValues;
  readonly #given = new Map<SettingId, readonly Given[]>();
  readonly #warnings: Warning[] = [];

  constructor(config: SshConfig, asked: Asked) {
    this.#config = config;
    this.#asked = asked;
    this.#resolved = config.resolve(asked);
    const { local } = config.options;
    const originalHost = asked.host;
    const values = {
      ...{ local, originalHost, host: originalHost },
      port: asked.port ?? this.#text('port') ?? SSH_PORT,
      user: asked.user ?? this.#text('user') ?? local.name,
      hostKeyAlias: this.#text('hostkeyalias'),
      jump: this.#text('proxyjump'),
    };
    const hostName = this.#one('hostname');
    const host = hostName && this.#expanded(hostName, hostName.args[0]!, values);
    this.#tokens = { ...values, host: host ?? originalHost };
  }

  run(): SshHost {
    for (const { block, criterion } of this.#resolved.skipped)
      this.#warn(block, `"${criterion}" is not looked at: the block is left out`);
    this.#server();
    this.#trust();
    this.#algorithms();
    this.#times();
    this.#login();
    return { given: this.#given, hops: this.#hops(), warnings: this.#warnings };
  }

  #server(): void {
    const hostName = this.#one('hostname');
    if (hostName !== undefined)
      this.#give('bastions[].host', [{ text: this.#tokens.host, where: hostName.where }]);
    this.#take('bastions[].port', 'port');
    const user = this.#one('user');
    const name = this.#config.options.local.name;
    const found = user ? { text: user.args[0]!, where: user.where } : { text: name, where: DEFAULT_WHERE };
    this.#give('bastions[].user', [found]);
    const canonical = this.#one('canonicalizehostname');
    if (canonical !== undefined && canonical.args[0] !== 'no')
      this.#warn(canonical, 'names are not canonicalized');
  }

  #trust(): void {
    this.#take('bastions[].hostKeyAlias', 'hostkeyalias');
    const check = this.#one('stricthostkeychecking');
    if (check !== undefined && ['no', 'off', 'accept-new'].includes(check.args[0]!.toLowerCase()))
      this.#warn(check, `"${check.args[0]}" is not taken over: the host key must be known`);
    const command = this.#one('knownhostscommand');
    if (command !== undefined && command.args[0] !== 'none') this.#warn(command, 'the command is not run');
    // Keys that are pinned are all that is trusted.
    if (this.#asked.given.has('bastions[].hostKeys')) return;
    const own = join(this.#config.options.local.home, '.ssh');
    const files = [
      ...this.#paths('userknownhostsfile', [join(own, 'known_hosts'), join(own, 'known_hosts2')]),
      ...this.#paths('globalknownhostsfile', ['/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2']),
    ].filter(({ text }) => isFile(text));
    if (files.length > 0) this.#give('bastions[].knownHostsFile', files);
  }

  #algorithms(): void {
    for (const { keyword, id, allowed } of ALGORITHM_KEYWORDS) {
      const directive = this.#one(keyword);
      if (directive === undefined || this.#asked.given.has(id)) continue;
      const { chosen, left } = chooseAlgorithms(directive.args.join(' '), allowed);
      if (chosen?.length === 0) {
        const hint = `Name one of ${allowed.join(', ')}.`;
        this.#wrong(directive, `found "${directive.args[0]}", none of which may be used`, hint);
      } else if (left.length > 0) {
        this.#warn(directive, `not known here, or too weak, and left out: ${left.join(', ')}`);
      }
      const { where } = directive;
      if (chosen !== undefined)
        this.#give(
          id,
          chosen.map((text) => ({ text, where })),
        );
    }
  }

  #times(): void {
    const interval = this.#seconds('serveraliveinterval');
    if (interval !== undefined) this.#give('bastions[].keepAlive', [interval]);
    const count = this.#one('serveralivecountmax');
    if (count !== undefined && /^[1-9]\d*$/.test(count.args[0]!))
      this.#give('bastions[].keepAliveMisses', [{ text: count.args[0]!, where: count.where }]);
    const timeout = this.#seconds('connecttimeout');
    if (timeout !== undefined) this.#give('bastions[].handshakeTimeout', [timeout]);
  }

  /** ssh takes 0 for "never", and so do we: of a time that does not end, ours stays. */
  #seconds(keyword: string): Given | undefined {
    const directive = this.#one(keyword);
    if (directive === undefined || directive.args[0] === 'none') return undefined;
    const text = directive.args[0]!;
    const parts = /^(\d+[smhdw]?)+$/i.test(text) ? [...text.matchAll(/(\d+)([smhdw]?)/gi)] : [];
    const unit = (letter: string): number => UNITS[(letter.toLowerCase() || 's') as keyof typeof UNITS];
    const seconds = parts.reduce((sum, [, amount, letter]) => sum + Number(amount) * unit(letter!), 0);
    if (parts.length === 0) this.#wrong(directive, `found "${text}", which is no time`, 'Write seconds.');
    if (seconds === 0) return undefined;
    if (seconds > SECONDS_MAX) this.#warn(directive, `an hour is taken for "${text}"`);
    return { text: `${Math.min(seconds, SECONDS_MAX) * SECOND_MS}ms`, where: directive.where };
  }

  #login(): void {
    const asked = WAYS_IN.some((id) => this.#asked.given.has(id));
    const agent = this.#agent(asked);
    const only = this.#text('identitiesonly')?.toLowerCase() === 'yes';
    const certificates = (this.#resolved.lists.get('certificatefile') ?? []).flatMap((directive) => {
      const path = this.#path(directive, directive.args[0]!);
      if (path === undefined || isFile(path))
        return path === undefined ? [] : { text: path, where: directive.where };
      this.#warn(directive, `${path}: there is no such file`);
      return [];
    });
    if (certificates.length > 0) this.#give('bastions[].certificateFile', certificates);
    const identities = this.#identities(agent !== undefined && agent.text !== 'false', asked);
    if (identities.length > 0) this.#give('bastions[].identityFile', identities);
    const named = identities.some(({ text }) => text.endsWith('.pub'));
    // The agent is for the keys that are named, and all of them are at hand.
    if (agent !== undefined && (!only || named)) this.#give('bastions[].agent', [agent]);
  }

  #agent(asked: boolean): Given | undefined {
    const directive = this.#one('identityagent');
    const { environment } = this.#config.options;
    const of = (name: string): string => environment[name] ?? '';
    if (directive !== undefined) {
      const { where } = directive;
      const text = directive.args[0]!;
      if (text === 'none') return { text: 'false', where };
      if (text === 'SSH_AUTH_SOCK') return { text: 'true', where };
      const path =
        text.startsWith('$') && !text.startsWith('${') ? of(text.slice(1)) : this.#path(directive, text);
      return path === undefined || path === '' ? undefined : { text: path, where };
    }
    const socket = of('SSH_AUTH_SOCK');
    if (asked || socket === '' || statSync(socket, { throwIfNoEntry: false })?.isSocket() !== true)
      return undefined;
    return { text: 'true', where: DEFAULT_WHERE };
  }

  /** With an agent, the public half stands for a key that only the agent can use. */
  #identities(agent: boolean, asked: boolean): readonly Given[] {
    const named = this.#resolved.lists.get('identityfile');
    if (named === undefined) {
      if (asked) return [];
      const own = join(this.#config.options.local.home, '.ssh');
      return DEFAULT_IDENTITIES.flatMap(
        (name) => this.#identity(join(own, name), DEFAULT_WHERE, agent) ?? [],
      );
    }
    return named.flatMap((directive) => {
      if (directive.args[0] === 'none') return [];
      const path = this.#path(directive, directive.args[0]!);
      if (path === undefined) return [];
      const found = this.#identity(path, directive.where, agent);
      if (found === undefined)
        this.#warn(directive, `${path}: there is no such file, or only an agent can use it`);
      return found ?? [];
    });
  }

  #identity(path: string, where: string, agent: boolean): Given | undefined {
    const file = { text: path, where };
    const half = { text: `${path}.pub`, where };
    const locked =
      isFile(path) && !this.#asked.given.has('bastions[].identityPassphraseFile') && this.#isLocked(path);
    if (isFile(path) && !(agent && locked)) return file;
    return agent && isFile(half.text) ? half : undefined;
  }

  #isLocked(path: string): boolean {
    try {
      return isEncrypted(this.#config.options.readFile(path).toString('latin1'));
    } catch (error) {
      // Told when it is read as a key.
      if (error instanceof NetproxyError) return false;
      throw error;
    }
  }

  #hops(): readonly Given[] {
    const command = this.#one('proxycommand');
    if (
      command !== undefined &&
      command.args[0]!.toLowerCase() !== 'none' &&
      !this.#asked.given.has('bastions[].jump')
    ) {
      const hint = 'Use ProxyJump, or give the "jump" of the bastion to netproxy.';
      this.#wrong(command, 'found a command; netproxy runs none, and cannot reach the host otherwise', hint);
    }
    const jump = this.#one('proxyjump');
    if (jump === undefined || jump.args[0]!.toLowerCase() === 'none') return [];
    return jump.args[0]!.split(',').flatMap((hop) => {
      const text = this.#expanded(jump, hop.trim(), this.#tokens);
      return text === undefined ? [] : { text, where: jump.where };
    });
  }

  /** Each path of a keyword that takes several. */
  #paths(keyword: string, fallback: readonly string[]): readonly Given[] {
    const directive = this.#one(keyword);
    if (directive === undefined) return fallback.map((text) => ({ text, where: DEFAULT_WHERE }));
    return directive.args.flatMap((arg) => {
      const text = arg === 'none' ? undefined : this.#path(directive, arg);
      return text === undefined ? [] : { text, where: directive.where };
    });
  }

  #path(directive: Directive, text: string): string | undefined {
    const { environment } = this.#config.options;
    return this.#told(directive, () => expandPath(text, this.#tokens, environment));
  }

  #expanded(directive: Directive, text: string, values: TokenValues): string | undefined {
    return this.#told(directive, () => expandTokens(text, values));
  }

  #told(directive: Directive, expand: () => string): string | undefined {
    try {
      return expand();
    } catch (error) {
      if (!(error instanceof BadToken)) throw error;
      this.#wrong(directive, error.message, 'Write it out.');
      return undefined;
    }
  }

  #one(keyword: string): Directive | undefined {
    return this.#resolved.values.get(keyword);
  }

  #text(keyword: string): string | undefined {
    return this.#one(keyword)?.args[0];
  }

  #take(id: SettingId, keyword: string): void {
    const directive = this.#one(keyword);
    if (directive !== undefined) this.#give(id, [{ text: directive.args[0]!, where: directive.where }]);
  }

  #give(id: SettingId, given: readonly Given[]): void {
    this.#given.set(id, given);
  }

  #warn({ where }: Directive, message: string): void {
    this.#warnings.push({ where, message });
  }

  #wrong({ where }: Directive, message: string, hint: string): void {
    const { problems } = this.#config.options;
    const problem: Problem = { code: 'CONFIG_INVALID', where, message, hint };
    // One line may hold for many hosts.
    if (!problems.some((other) => other.where === where && other.message === message)) problems.push(problem);
  }
}

/** Whether a private key needs a passphrase: PEM says so in words, OpenSSH by the name of the cipher. */
function isEncrypted(text: string): boolean {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END/.exec(text)?.[1];
  if (body === undefined) return text.includes('ENCRYPTED');
  // PROTOCOL.key: "openssh-key-v1\0", then the length and the name of the cipher.
  const name = Buffer.from(body, 'base64').subarray('openssh-key-v1\0'.length);
  return name.length >= 8 && name.subarray(4, 8).toString('latin1') !== 'none';
}
