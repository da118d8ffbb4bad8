import os from 'node:os';
import type { Environment } from '../environment.ts';
import type { FileItem } from '../file.ts';
import type { SettingReader } from '../reader.ts';
import { SETTINGS } from '../settings.ts';
import type { SettingId } from '../settings.ts';
import { urlGiven } from '../urls.ts';
import type { Given } from '../value.ts';
import { sshHost } from './host.ts';
import type { Warning } from './host.ts';
import { SshConfig } from './ssh-config.ts';
import type { LocalUser } from './tokens.ts';

const OF_BASTIONS: readonly SettingId[] = [...SETTINGS.keys()].filter((id) => id.startsWith('bastions[].'));
/** Settings of one bastion that others set for all: those win over ssh_config. */
const FOR_ALL: Partial<Record<SettingId, SettingId>> = {
  'bastions[].keepAlive': 'keepAlive',
  'bastions[].keepAliveMisses': 'keepAliveMisses',
  'bastions[].handshakeTimeout': 'handshakeTimeout',
};
/** Longest part of a host's name that the name of its bastion is made of, in characters. */
const NAME_MAX = 50;

/** Adds to bastions what ssh_config says of their hosts, and the bastions that ProxyJump names. */
export class SshHosts {
  readonly warnings: Warning[] = [];
  readonly #reader: SettingReader;
  readonly #config: SshConfig;
  readonly #names = new Set<string>();
  /** Names of bastions that are hops, by what they are made of. */
  readonly #hops = new Map<string, string>();

  private constructor(reader: SettingReader, config: SshConfig) {
    this.#reader = reader;
    this.#config = config;
  }

  /** `file` is the value of `sshConfig`; undefined when ssh_config is not to be read. */
  static async read(reader: SettingReader, file: string | undefined): Promise<SshHosts | undefined> {
    if (file === undefined || file === 'false') return undefined;
    const config = await SshConfig.read({
      file,
      where: reader.where('sshConfig', reader.file.given) ?? 'sshConfig',
      local: localUser(reader.environment),
      environment: reader.environment,
      readFile: reader.files('CONFIG_UNREADABLE'),
      problems: reader.problems,
    });
    return new SshHosts(reader, config);
  }

  /** The same bastions with what they lacked, and after them their hops. */
  complete(items: readonly FileItem[]): readonly FileItem[] {
    for (const { given } of items) {
      const name = this.#text('bastions[].name', given);
      if (name !== undefined) this.#names.add(name);
    }
    const all = [...items];
    // Those that are added have hops of their own.
    for (let index = 0; index < all.length; index++) all[index] = this.#completed(all[index]!, all);
    return all;
  }

  #completed(item: FileItem, all: FileItem[]): FileItem {
    const host = this.#text('bastions[].host', item.given);
    if (host === undefined) return item;
    const has = (id: SettingId): boolean => this.#reader.given(id, item.given) !== undefined;
    const found = sshHost(this.#config, {
      host,
      user: this.#text('bastions[].user', item.given),
      port: this.#text('bastions[].port', item.given),
      given: new Set(OF_BASTIONS.filter(has)),
    });
    for (const warning of found.warnings) {
      const known = this.warnings.some(
        ({ where, message }) => where === warning.where && message === warning.message,
      );
      if (!known) this.warnings.push(warning);
    }
    const given = new Map(item.given);
    for (const [id, values] of found.given) {
      const common = FOR_ALL[id];
      if (common !== undefined && this.#reader.given(common, this.#reader.file.given) !== undefined) continue;
      if (id === 'bastions[].host' || !has(id)) given.set(id, [...values]);
    }
    if (!has('bastions[].jump')) {
      let outer: Given | undefined;
      for (const hop of found.hops) outer = this.#hop(hop, outer, all) ?? outer;
      if (outer !== undefined) given.set('bastions[].jump', [outer]);
    }
    return { where: item.where, given };
  }

  /** The name of the bastion for a hop, which is made if it is not there yet; none for one that is wrong. */
  #hop(hop: Given, outer: Given | undefined, all: FileItem[]): Given | undefined {
    const key = `${hop.text} ${outer?.text ?? ''}`;
    let name = this.#hops.get(key);
    if (name === undefined) {
      const given = urlGiven(this.#reader, 'jump', hop, true);
      const host = given.get('bastions[].host')?.[0]?.text;
      if (host === undefined) return undefined;
      name = this.#name(host);
      this.#hops.set(key, name);
      given.set('bastions[].name', [{ text: name, where: hop.where }]);
      if (outer !== undefined) given.set('bastions[].jump', [outer]);
      all.push({ where: hop.where, given });
    }
    return { text: name, where: hop.where };
  }

  /** One that no other bastion has, and that tells the host. */
  #name(host: string): string {
    const plain =
      host
        .replaceAll(/[^A-Za-z0-9._-]/g, '-')
        .replace(/^[._-]+/, '')
        .slice(0, NAME_MAX) || 'jump';
    let name = plain;
    for (let number = 2; this.#names.has(name); number++) name = `${plain}-${number}`;
    this.#names.add(name);
    return name;
  }

  #text(id: SettingId, file: FileItem['given']): string | undefined {
    return this.#reader.given(id, file)?.[0]?.text;
  }
}

/** Containers often run as a number that no user has. */
function localUser({ USER, HOME }: Environment): LocalUser {
  const uid = process.getuid?.() ?? 0;
  const hostName = os.hostname();
  try {
    const { username, homedir } = os.userInfo();
    return { name: username, home: homedir, uid, hostName };
  } catch {
    return { name: USER ?? String(uid), home: HOME ?? '/', uid, hostName };
  }
}
