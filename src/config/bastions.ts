import type { BastionConfig, BastionCredentials } from './config.ts';
import { readCredentials } from './credentials.ts';
import type { Placed } from './credentials.ts';
import type { FileItem } from './file.ts';
import { checkJumps } from './jumps.ts';
import type { PlacedJump } from './jumps.ts';
import type { SettingReader } from './reader.ts';
import { setting } from './settings.ts';
import type { SettingId, SettingValues } from './settings.ts';
import { SshHosts } from './ssh-config/hosts.ts';
import type { Warning } from './ssh-config/host.ts';
import { readAlgorithms, WAYS_TO_KNOW, WAYS_TO_KNOW_TEXT } from './trust.ts';
import { urlItems } from './urls.ts';

/** A bastion as it was read; without `complete`, its files are not. */
export type ReadBastion = BastionConfig & { readonly credentials: BastionCredentials | undefined };

export interface ReadBastions {
  /** As written. */
  readonly sshConfig: string | undefined;
  readonly bastions: readonly ReadBastion[];
  /** Numbers of those with which nothing is wrong. */
  readonly whole: ReadonlySet<number>;
  readonly warnings: readonly Warning[];
}

/** Settings of which a bastion needs one; `auth` alone has the person at the terminal asked. */
export const WAYS_IN: readonly SettingId[] = [
  'bastions[].identityFile',
  'bastions[].agent',
  'bastions[].passwordFile',
  'bastions[].keyboardInteractiveFile',
  'bastions[].auth',
];
const WAYS_IN_TEXT = 'another way to log in: agent, passwordFile, keyboardInteractiveFile, auth';

/** `complete`: at least one bastion, none lacking anything, and every file read. */
export async function readBastions(reader: SettingReader, complete: boolean): Promise<ReadBastions> {
  const sshConfig = reader.first('sshConfig', reader.file.given, 'sshConfig');
  const hosts = complete ? await SshHosts.read(reader, sshConfig) : undefined;
  const urls = urlItems(reader, hosts !== undefined);
  const listed = urls.length > 0 ? urls : (reader.file.lists.get('bastions') ?? []);
  // When the flag or the file is broken, what it would have given is not also missing.
  const broken =
    reader.flagged('bastion') || reader.problems.some(({ code }) => code === 'CONFIG_UNREADABLE');
  if (listed.length === 0 && complete && !broken) {
    reader.problems.push({
      code: 'CONFIG_INVALID',
      where: '--bastion',
      message: 'no bastion is given; netproxy needs one to forward to',
      hint: 'Give --bastion ssh://USER@HOST, set NETPROXY_BASTION, or list "bastions" in the file.',
    });
  }
  const items = hosts?.complete(listed) ?? listed;
  const jumps: PlacedJump[] = [];
  const whole = new Set<number>();
  const bastions = items.map((item, index) => {
    const before = [reader.problems.length, reader.wrongValues];
    const { bastion, jump } = readBastion(reader, item, index, complete);
    jumps.push({ name: bastion.name, jump });
    if (before[0] === reader.problems.length && before[1] === reader.wrongValues) whole.add(index);
    return bastion;
  });
  checkJumps(jumps, reader.problems);
  return { sshConfig, bastions, whole, warnings: hosts?.warnings ?? [] };
}

function readBastion(
  reader: SettingReader,
  { where, given }: FileItem,
  index: number,
  complete: boolean,
): { bastion: ReadBastion; jump: Placed<string> | undefined } {
  const needed = (id: SettingId): string => {
    const key = id.slice('bastions[].'.length);
    if (complete && setting(id).required === true && reader.given(id, given) === undefined)
      reader.missing(id, where, key);
    return `bastions[${index}].${key}`;
  };
  const value = <I extends SettingId>(id: I): SettingValues[I] =>
    reader.first(id, given, needed(id)) as SettingValues[I];
  const list = <I extends SettingId>(id: I): Placed<SettingValues[I]>[] =>
    reader.placed(id, given, needed(id));
  const values = <T>(placed: readonly Placed<T>[]): T[] => placed.map(({ value: each }) => each);
  /** That of the bastion, or what holds for all of them. */
  const own = (id: SettingId, all: 'keepAlive' | 'keepAliveMisses' | 'handshakeTimeout'): number => {
    const path = needed(id);
    const explicit = reader.given(all, undefined);
    const here = given.get(id);
    const from = explicit ?? here ?? reader.file.given.get(all);
    return reader.first(all, from === undefined ? undefined : new Map([[all, [...from]]]), path)!;
  };
  const identities = list('bastions[].identityFile');
  const passphrases = list('bastions[].identityPassphraseFile');
  const certificates = list('bastions[].certificateFile');
  const knownHosts = list('bastions[].knownHostsFile');
  const hostKeys = list('bastions[].hostKeys');
  const auth = list('bastions[].auth');
  if (complete && !WAYS_IN.some((id) => reader.given(id, given) !== undefined)) {
    const more = ` of a private key, or ${WAYS_IN_TEXT}`;
    reader.missing('bastions[].identityFile', where, 'identityFile', more);
  }
  // A flag without its value has been reported already.
  const knows = (id: SettingId): boolean => reader.flagged(id) || (reader.given(id, given) ?? []).length > 0;
  if (complete && !WAYS_TO_KNOW.some(knows)) {
    reader.missing('bastions[].knownHostsFile', where, 'knownHostsFile', `, or ${WAYS_TO_KNOW_TEXT}`);
  }
  const bastion: BastionConfig = {
    name: value('bastions[].name'),
    host: value('bastions[].host'),
    port: value('bastions[].port'),
    user: value('bastions[].user'),
    identityFile: values(identities),
    identityPassphraseFile: values(passphrases),
    certificateFile: values(certificates),
    agent: value('bastions[].agent'),
    passwordFile: value('bastions[].passwordFile'),
    keyboardInteractiveFile: value('bastions[].keyboardInteractiveFile'),
    auth: values(auth),
    knownHostsFile: values(knownHosts),
    hostKeyAlias: value('bastions[].hostKeyAlias'),
    hostKeys: values(hostKeys),
    tofu: value('bastions[].tofu'),
    algorithms: readAlgorithms(list),
    jump: jumpOf(value('bastions[].jump')),
    maxConnections: value('bastions[].maxConnections'),
    keepAlive: own('bastions[].keepAlive', 'keepAlive'),
    keepAliveMisses: own('bastions[].keepAliveMisses', 'keepAliveMisses'),
    handshakeTimeout: own('bastions[].handshakeTimeout', 'handshakeTimeout'),
  };
  const at = (id: SettingId): string => reader.where(id, given) ?? where;
  reader.name('bastion', bastion.name, at('bastions[].name'));
  const jump = bastion.jump === undefined ? undefined : { value: bastion.jump, where: at('bastions[].jump') };
  if (!complete) return { bastion: { ...bastion, credentials: undefined }, jump };
  const one = (id: SettingId, file: string | undefined): Placed<string> | undefined =>
    file === undefined ? undefined : { value: file, where: at(id) };
  const credentials = readCredentials(
    {
      identities,
      passphrases,
      certificates,
      password: one('bastions[].passwordFile', bastion.passwordFile),
      answers: one('bastions[].keyboardInteractiveFile', bastion.keyboardInteractiveFile),
      knownHosts,
      hostKeys,
    },
    agentSocket(reader, bastion.agent, at('bastions[].agent')),
    reader.files('CREDENTIAL_UNREADABLE'),
    reader.problems,
  );
  return { bastion: { ...bastion, credentials }, jump };
}

/** The word for a bastion that is reached directly whatever ssh_config says. */
const NO_JUMP = 'none';

function jumpOf(jump: string | undefined): string | undefined {
  return jump === NO_JUMP ? undefined : jump;
}

/** The path that `agent` stands for. */
function agentSocket(reader: SettingReader, agent: string | undefined, where: string): string | undefined {
  if (agent !== 'true') return agent === 'false' ? undefined : agent;
  const socket = reader.environment['SSH_AUTH_SOCK'];
  if (socket !== undefined && socket !== '') return socket;
  const message = 'found "true", but SSH_AUTH_SOCK, which names the socket of the agent, is not set';
  if (!reader.problems.some((other) => other.where === where && other.message === message)) {
    const hint = 'Set SSH_AUTH_SOCK, or give the path of the socket in place of "true".';
    reader.problems.push({ code: 'CONFIG_INVALID', where, message, hint });
  }
  return undefined;
}
