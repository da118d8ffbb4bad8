/**
 * The one table of settings. The configuration file, the flags, the environment, `--help`, shell
 * completion, `netproxy check` and docs/configuration.md all follow from it.
 */
import {
  CONNECT_HOLD_MS,
  POOL_CONNECTIONS_MAX,
  SSH_HANDSHAKE_DEADLINE_MS,
  SSH_KEEPALIVE_INTERVAL_MS,
  SSH_KEEPALIVE_MISSES,
  SSH_OPEN_DEADLINE_MS,
  SSH_REKEY_INTERVAL_MS,
} from '../core/limits.ts';
import type { Setting } from './setting.ts';
import * as kind from './kind.ts';
import { dnsRows } from './dns-settings.ts';
import type { DnsSettingValues } from './dns-settings.ts';
import { upstreamName } from './rule-kind.ts';
import { injectorRows } from './injector-settings.ts';
import type { InjectorSettingValues } from './injector-settings.ts';
import { controlRows } from './control-settings.ts';
import type { ControlSettingValues } from './control-settings.ts';
import { processRows } from './process-settings.ts';
import type { ProcessSettingValues } from './process-settings.ts';
import { ruleRows } from './rule-settings.ts';
import type { RuleSettingValues } from './rule-settings.ts';
import { trustRows } from './trust-settings.ts';
import type { TrustSettingValues } from './trust-settings.ts';
import type { BastionUrl } from './kind.ts';
import type { AuthMethod, GroupPolicy, HostConfig } from './config.ts';

export { GROUPS } from './setting.ts';
export type { Setting } from './setting.ts';

const HOUR_MS = 3_600_000;
const keepAlive = kind.duration(1000, HOUR_MS);
const keepAliveMisses = kind.integer('COUNT', 1, 100, 'a number');
const handshakeTimeout = kind.duration(1000, HOUR_MS);

/** What each setting is once read; durations are milliseconds, and `local` is one item of its list. */
export interface SettingValues
  extends
    RuleSettingValues,
    TrustSettingValues,
    DnsSettingValues,
    ControlSettingValues,
    ProcessSettingValues,
    InjectorSettingValues {
  config: string;
  bastion: BastionUrl;
  jump: BastionUrl;
  sshConfig: string;
  'bastions[].name': string;
  'bastions[].host': string;
  'bastions[].port': number;
  'bastions[].user': string;
  'bastions[].identityFile': string;
  'bastions[].identityPassphraseFile': string;
  'bastions[].certificateFile': string;
  'bastions[].agent': string;
  'bastions[].passwordFile': string;
  'bastions[].keyboardInteractiveFile': string;
  'bastions[].auth': AuthMethod;
  'bastions[].jump': string;
  'bastions[].maxConnections': number;
  'bastions[].keepAlive': number;
  'bastions[].keepAliveMisses': number;
  'bastions[].handshakeTimeout': number;
  'groups[].name': string;
  'groups[].bastions': string;
  'groups[].policy': GroupPolicy;
  'tun.name': string;
  'tun.mtu': number;
  'tun.address4': string;
  'tun.address6': string;
  local: string;
  captured: string;
  metadata: HostConfig['metadata'];
  layers: HostConfig['layers'][number];
  strict: 'true' | 'false';
  onExit: HostConfig['onExit'];
  connectHold: number;
  dialTimeout: number;
  keepAlive: number;
  keepAliveMisses: number;
  handshakeTimeout: number;
  rekeyInterval: number;
  watch: 'true' | 'false';
}

export type SettingId = keyof SettingValues;

const rows: { readonly [I in SettingId]: Setting<SettingValues[I]> } = {
  config: {
    flag: 'config',
    short: 'c',
    env: 'NETPROXY_CONFIG',
    kind: kind.file,
    group: 'Configuration',
    description: 'YAML file with the keys of this table.',
  },
  watch: {
    key: 'watch',
    flag: 'watch',
    env: 'NETPROXY_WATCH',
    kind: kind.oneOf('true', 'false'),
    default: 'true',
    group: 'Configuration',
    description:
      'Whether a changed configuration file, key or known_hosts file is read again without a signal.',
  },
  bastion: {
    flag: 'bastion',
    env: 'NETPROXY_BASTION',
    kind: kind.bastionUrl,
    list: true,
    group: 'Bastion',
    description:
      'The bastions to use, named "main", "main2" and so on; they take the place of all bastions and groups in the file.',
  },
  jump: {
    flag: 'jump',
    env: 'NETPROXY_JUMP',
    kind: kind.jumpHost,
    list: true,
    group: 'Bastion',
    description:
      'Bastions to go through in this order, as for "ssh -J", to each of those that --bastion names; they log in by the same flags and variables.',
  },
  sshConfig: {
    key: 'sshConfig',
    flag: 'ssh-config',
    env: 'NETPROXY_SSH_CONFIG',
    kind: kind.trueOrFile('ssh_config'),
    bare: 'true',
    group: 'Bastion',
    description:
      'Whether what a bastion lacks is taken from ssh_config, its host being looked up as by ssh: "true" for ~/.ssh/config and /etc/ssh/ssh_config, or one file.',
  },
  'bastions[].name': {
    key: 'bastions[].name',
    kind: upstreamName,
    required: true,
    group: 'Bastion',
    description: 'Name of the bastion in rules, logs and metrics; no two are alike.',
  },
  'bastions[].host': {
    key: 'bastions[].host',
    kind: kind.host,
    required: true,
    group: 'Bastion',
    description: 'Host name or address of the SSH server.',
  },
  'bastions[].port': {
    key: 'bastions[].port',
    kind: kind.port,
    default: String(kind.SSH_PORT),
    group: 'Bastion',
    description: 'Port of the SSH server.',
  },
  'bastions[].user': {
    key: 'bastions[].user',
    kind: kind.user,
    required: true,
    group: 'Bastion',
    description: 'User to log in as.',
  },
  'bastions[].identityFile': {
    key: 'bastions[].identityFile',
    flag: 'identity',
    env: 'NETPROXY_IDENTITY_FILE',
    kind: kind.file,
    list: true,
    one: true,
    secret: true,
    group: 'Bastion',
    description:
      'Private keys to log in with, or with an agent the public keys of those of its keys to use; flags and variables of this group hold for every bastion.',
  },
  'bastions[].identityPassphraseFile': {
    key: 'bastions[].identityPassphraseFile',
    flag: 'identity-passphrase-file',
    env: 'NETPROXY_IDENTITY_PASSPHRASE_FILE',
    kind: kind.file,
    list: true,
    one: true,
    secret: true,
    group: 'Bastion',
    description:
      'Files whose first line is the passphrase of a private key; each is tried with each encrypted key.',
  },
  'bastions[].certificateFile': {
    key: 'bastions[].certificateFile',
    flag: 'certificate',
    env: 'NETPROXY_CERTIFICATE_FILE',
    kind: kind.file,
    list: true,
    one: true,
    group: 'Bastion',
    description:
      'OpenSSH user certificates for the keys; FILE-cert.pub beside a private key FILE is used without being named.',
  },
  'bastions[].agent': {
    key: 'bastions[].agent',
    flag: 'agent',
    env: 'NETPROXY_AGENT',
    kind: kind.agent,
    group: 'Bastion',
    description: 'SSH agent whose keys are used; "true" is the one that SSH_AUTH_SOCK names.',
  },
  'bastions[].passwordFile': {
    key: 'bastions[].passwordFile',
    flag: 'password-file',
    env: 'NETPROXY_PASSWORD_FILE',
    kind: kind.file,
    secret: true,
    group: 'Bastion',
    description: 'File whose first line is the password of the user.',
  },
  'bastions[].keyboardInteractiveFile': {
    key: 'bastions[].keyboardInteractiveFile',
    flag: 'keyboard-interactive-file',
    env: 'NETPROXY_KEYBOARD_INTERACTIVE_FILE',
    kind: kind.file,
    secret: true,
    group: 'Bastion',
    description: "File with the answers to the bastion's questions (keyboard-interactive), a line each.",
  },
  'bastions[].auth': {
    key: 'bastions[].auth',
    flag: 'auth',
    env: 'NETPROXY_AUTH',
    kind: kind.oneOf('publickey', 'keyboard-interactive', 'password'),
    list: true,
    one: true,
    group: 'Bastion',
    description:
      'Methods to log in by, in order; unset, those that have what they need, in the order of the words.',
  },
  ...trustRows,
  'bastions[].jump': {
    key: 'bastions[].jump',
    kind: kind.name,
    group: 'Bastion',
    description:
      'Name of the bastion that this one is reached through, which may have a "jump" of its own; "none" leaves out that of ssh_config.',
  },
  'bastions[].maxConnections': {
    key: 'bastions[].maxConnections',
    flag: 'max-connections',
    env: 'NETPROXY_MAX_CONNECTIONS',
    kind: kind.integer('COUNT', 1, 64, 'a number'),
    default: String(POOL_CONNECTIONS_MAX),
    group: 'Bastion',
    description:
      'Connections to the bastion at once, at most; further ones are made only while the others carry many flows.',
  },
  'bastions[].keepAlive': {
    key: 'bastions[].keepAlive',
    kind: keepAlive,
    group: 'Bastion',
    description: 'As "keepAlive" below, of this bastion alone.',
  },
  'bastions[].keepAliveMisses': {
    key: 'bastions[].keepAliveMisses',
    kind: keepAliveMisses,
    group: 'Bastion',
    description: 'As "keepAliveMisses" below, of this bastion alone.',
  },
  'bastions[].handshakeTimeout': {
    key: 'bastions[].handshakeTimeout',
    kind: handshakeTimeout,
    group: 'Bastion',
    description: 'As "handshakeTimeout" below, of this bastion alone.',
  },
  'groups[].name': {
    key: 'groups[].name',
    kind: upstreamName,
    required: true,
    group: 'Groups of bastions',
    description:
      'Name of the group in rules, logs and metrics; no bastion or other group has it. The first group is used where no rule says otherwise.',
  },
  'groups[].bastions': {
    key: 'groups[].bastions',
    kind: kind.name,
    list: true,
    one: true,
    required: true,
    group: 'Groups of bastions',
    description: 'Names of its bastions, in order of preference.',
  },
  'groups[].policy': {
    key: 'groups[].policy',
    flag: 'group-policy',
    env: 'NETPROXY_GROUP_POLICY',
    kind: kind.oneOf('failover', 'least-latency', 'round-robin'),
    default: 'failover',
    group: 'Groups of bastions',
    description:
      'Which healthy bastion of the group a new connection uses: the first, the one with the shortest round trip, or each in turn. The flag and the variable hold for every group.',
  },
  ...ruleRows,
  'tun.name': {
    key: 'tun.name',
    flag: 'tun-name',
    env: 'NETPROXY_TUN_NAME',
    kind: kind.interfaceName,
    default: 'tun0',
    group: 'Network',
    description: 'Name of the TUN interface.',
  },
  'tun.mtu': {
    key: 'tun.mtu',
    flag: 'tun-mtu',
    env: 'NETPROXY_TUN_MTU',
    // RFC 8200 section 5: IPv6 needs 1280. 65535 is the longest IPv4 packet.
    kind: kind.integer('BYTES', 1280, 65_535, 'a number of bytes'),
    default: '1500',
    group: 'Network',
    description: 'MTU of the TUN interface in bytes; segments of up to 64 KiB cross it whole all the same.',
  },
  'tun.address4': {
    key: 'tun.address4',
    flag: 'tun-address4',
    env: 'NETPROXY_TUN_ADDRESS4',
    kind: kind.interfaceAddress(4),
    default: '198.18.0.1/30',
    group: 'Network',
    description:
      'IPv4 address and prefix of the TUN interface (RFC 2544 keeps 198.18.0.0/15 off the Internet).',
  },
  'tun.address6': {
    key: 'tun.address6',
    flag: 'tun-address6',
    env: 'NETPROXY_TUN_ADDRESS6',
    kind: kind.interfaceAddress(6),
    default: 'fd6e:7072::1/126',
    group: 'Network',
    description: 'IPv6 address and prefix of the TUN interface (a unique local address, RFC 4193).',
  },
  local: {
    key: 'local',
    flag: 'local',
    env: 'NETPROXY_LOCAL',
    kind: kind.destination,
    list: true,
    group: 'Network',
    description: 'Networks, or ports of some, that stay direct, beside the networks that interfaces are on.',
  },
  captured: {
    key: 'captured',
    flag: 'captured',
    env: 'NETPROXY_CAPTURED',
    kind: kind.destination,
    list: true,
    group: 'Network',
    description:
      'Networks, or ports of some, that go to a bastion although they are local; of this and "local" the most specific holds.',
  },
  metadata: {
    key: 'metadata',
    flag: 'metadata',
    env: 'NETPROXY_METADATA',
    kind: kind.oneOf('reject', 'direct'),
    default: 'reject',
    group: 'Network',
    description:
      'Link-local and cloud metadata addresses (169.254.0.0/16, 100.100.100.200, fd00:ec2::254), which never go to a bastion.',
  },
  layers: {
    key: 'layers',
    flag: 'layers',
    env: 'NETPROXY_LAYERS',
    kind: kind.oneOf('routes', 'nftables'),
    list: true,
    one: true,
    group: 'Network',
    description:
      'What keeps traffic in, both by default; each is enough by itself, but without "routes" something else must lead traffic to the TUN.',
  },
  strict: {
    key: 'strict',
    flag: 'strict',
    env: 'NETPROXY_STRICT',
    kind: kind.oneOf('true', 'false'),
    default: 'false',
    group: 'Network',
    description: 'Whether to refuse to start where a layer cannot be had, instead of a warning.',
  },
  onExit: {
    key: 'onExit',
    flag: 'on-exit',
    env: 'NETPROXY_ON_EXIT',
    kind: kind.oneOf('closed', 'open'),
    default: 'closed',
    group: 'Network',
    description:
      'After a stop in order: "closed" keeps the routes, so that nothing leaks; "open" puts the old ones back.',
  },
  ...dnsRows,
  connectHold: {
    key: 'connectHold',
    flag: 'connect-hold',
    env: 'NETPROXY_CONNECT_HOLD',
    kind: kind.duration(0, HOUR_MS),
    default: kind.durationText(CONNECT_HOLD_MS),
    group: 'Flows',
    description: 'How long a new connection waits for a bastion that is away before it fails.',
  },
  dialTimeout: {
    key: 'dialTimeout',
    flag: 'dial-timeout',
    env: 'NETPROXY_DIAL_TIMEOUT',
    kind: kind.duration(1000, HOUR_MS),
    default: kind.durationText(SSH_OPEN_DEADLINE_MS),
    group: 'Flows',
    description: 'How long the bastion may take to reach a target before the connection fails.',
  },
  keepAlive: {
    key: 'keepAlive',
    flag: 'keep-alive',
    env: 'NETPROXY_KEEP_ALIVE',
    kind: keepAlive,
    default: kind.durationText(SSH_KEEPALIVE_INTERVAL_MS),
    group: 'Flows',
    description: 'How often a bastion is asked whether it lives, also when nothing is sent.',
  },
  keepAliveMisses: {
    key: 'keepAliveMisses',
    flag: 'keep-alive-misses',
    env: 'NETPROXY_KEEP_ALIVE_MISSES',
    kind: keepAliveMisses,
    default: String(SSH_KEEPALIVE_MISSES),
    group: 'Flows',
    description:
      'How many of these may go unanswered in a row; a bastion that is gone is given up after "keepAlive" times this, and at most one "keepAlive" more.',
  },
  handshakeTimeout: {
    key: 'handshakeTimeout',
    flag: 'handshake-timeout',
    env: 'NETPROXY_HANDSHAKE_TIMEOUT',
    kind: handshakeTimeout,
    default: kind.durationText(SSH_HANDSHAKE_DEADLINE_MS),
    group: 'Flows',
    description: 'How long a connection to a bastion may take from its first packet to the end of the login.',
  },
  rekeyInterval: {
    key: 'rekeyInterval',
    flag: 'rekey-interval',
    env: 'NETPROXY_REKEY_INTERVAL',
    kind: kind.duration(0, 24 * HOUR_MS),
    default: kind.durationText(SSH_REKEY_INTERVAL_MS),
    group: 'Flows',
    description:
      'How long a connection to a bastion uses the same keys; 0s leaves it to the bytes (after 32 GiB) and to the bastion.',
  },
  ...controlRows,
  ...processRows,
  ...injectorRows,
};

export const SETTINGS: ReadonlyMap<SettingId, Setting> = new Map(
  Object.entries(rows) as readonly [SettingId, Setting][],
);

/** What a run can be told by flags, in order. */
export const RUN_FLAGS: readonly SettingId[] = [...SETTINGS]
  .filter(([, { flag, group }]) => flag !== undefined && group !== 'Injector')
  .map(([id]) => id);

/** The setting with this id. */
export function setting<I extends SettingId>(id: I): Setting<SettingValues[I]> {
  return rows[id];
}
