import type { Algorithms } from '../core/algorithms.ts';
import type { Endpoint } from '../core/flow.ts';
import type { FarResolver } from '../core/names.ts';
import type { Secret } from '../core/secret.ts';
import type { UserChoice } from '../core/user.ts';
import type { Rule } from '../policy/rule.ts';

/** Methods of RFC 4252 and RFC 4256. */
export type AuthMethod = 'publickey' | 'keyboard-interactive' | 'password';

/** One SSH server that may carry flows. */
export interface BastionConfig {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly identityFile: readonly string[];
  readonly identityPassphraseFile: readonly string[];
  readonly certificateFile: readonly string[];
  /** As written: `true`, `false` or a path. */
  readonly agent: string | undefined;
  readonly passwordFile: string | undefined;
  readonly keyboardInteractiveFile: string | undefined;
  /** None: those that have what they need, in the usual order. */
  readonly auth: readonly AuthMethod[];
  readonly knownHostsFile: readonly string[];
  /** The name that known_hosts has the server under, if it is not `host`. */
  readonly hostKeyAlias: string | undefined;
  /** Keys and fingerprints, of which any will do. */
  readonly hostKeys: readonly string[];
  /** File of trust on first use. */
  readonly tofu: string | undefined;
  readonly algorithms: Algorithms;
  /** Name of the bastion that this one is reached through. */
  readonly jump: string | undefined;
  readonly maxConnections: number;
  /** Milliseconds between keepalives, and how many in a row may go unanswered. */
  readonly keepAlive: number;
  readonly keepAliveMisses: number;
  /** Milliseconds from connect(2) to the end of the login. */
  readonly handshakeTimeout: number;
}

/** Which healthy bastion of a group a connect uses. */
export type GroupPolicy = 'failover' | 'least-latency' | 'round-robin';

/** Bastions of which any may carry a flow. */
export interface GroupConfig {
  readonly name: string;
  /** Names of bastions, at least one, in order of preference. */
  readonly bastions: readonly string[];
  readonly policy: GroupPolicy;
}

/** A file as read at start. */
export interface CredentialFile {
  readonly file: string;
  readonly contents: Secret<Buffer>;
}

/** What the files of a bastion held, as read at start; parsed and judged by `ssh`. */
export interface BastionCredentials {
  /** Of each identity file; the certificate is the file FILE-cert.pub beside it, when there is one. */
  readonly identities: readonly (CredentialFile & { readonly certificate?: CredentialFile })[];
  readonly passphrases: readonly Secret<string>[];
  readonly certificates: readonly CredentialFile[];
  /** Path of the agent's socket. */
  readonly agentSocket: string | undefined;
  readonly password: Secret<string> | undefined;
  readonly answers: Secret<readonly string[]> | undefined;
  /** Texts of the known_hosts files. */
  readonly knownHosts: readonly { readonly file: string; readonly text: string }[];
  /** The host keys again, with their places. */
  readonly pins: readonly { readonly text: string; readonly where: string }[];
}

export interface TunConfig {
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** `address/prefix` in canonical text. */
  readonly address4: string;
  readonly address6: string;
}

/** What concerns the host alone: all that `plan` and `release` need. */
export interface HostConfig {
  readonly tun: TunConfig;
  /** What stays direct: networks, and single ports of some, in canonical text. */
  readonly local: readonly string[];
  /** What does not, although it is local. */
  readonly captured: readonly string[];
  /** The first that a flow matches decides; where none does, the last resort. */
  readonly rules: readonly Rule[];
  /** What becomes of link-local and metadata addresses. */
  readonly metadata: 'reject' | 'direct';
  /** What keeps traffic in. */
  readonly layers: readonly ('routes' | 'nftables')[];
  /** Whether to fail rather than do without a layer. */
  readonly strict: boolean;
  readonly dns: DnsConfig;
  /** What a stop in order leaves behind. */
  readonly onExit: 'closed' | 'open';
  /** Milliseconds. */
  readonly connectHold: number;
  /** Milliseconds. */
  readonly dialTimeout: number;
  /** Milliseconds between keepalives, and how many in a row may go unanswered. */
  readonly keepAlive: number;
  readonly keepAliveMisses: number;
  /** Milliseconds from connect(2) to the end of the login. */
  readonly handshakeTimeout: number;
  /** Milliseconds after which a connection gets new keys; 0 for never by the clock. */
  readonly rekeyInterval: number;
  /** Whether files are watched, and read again when they change. */
  readonly watch: boolean;
  /** Who the process becomes once the namespace is taken over. */
  readonly user: UserChoice;
  /** Whether dangerous system calls are refused from then on. */
  readonly seccomp: boolean;
  readonly control: ControlConfig;
  /** What a bastion is asked to connect to, as proof that it opens channels. */
  readonly readyTarget: Endpoint;
  readonly log: LogConfig;
}

/** How names are looked up. */
export interface DnsConfig {
  /** Resolvers of far ends; where an upstream has none, they are looked for. */
  readonly upstream: readonly FarResolver[];
  /** The namespace's own resolvers; none: those of resolv.conf. */
  readonly resolvers: readonly string[];
  /** Domains in lower case: those that are local, and those that never are. */
  readonly local: readonly string[];
  readonly far: readonly string[];
  readonly aaaa: 'auto' | 'yes' | 'no';
  readonly port: number;
  /** Milliseconds that an answer may be kept beyond its time. */
  readonly stale: number;
  /** Networks of the addresses that stand for names, and the file in which they are kept. */
  readonly fake4: string;
  readonly fake6: string;
  readonly fakeFile: string | undefined;
}

export interface ControlConfig {
  /** Path; undefined for the usual places. */
  readonly socket: string | undefined;
  /** Where health and metrics are served by TCP. */
  readonly listen: Endpoint | undefined;
  readonly tokenFile: string | undefined;
  /** What the rest is served for by TCP; undefined also where nothing but the host counts. */
  readonly token: Secret<string> | undefined;
}

export interface LogConfig {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: 'auto' | 'human' | 'json';
  /** Those that are logged at `info`. */
  readonly flows: 'all' | 'failed' | 'none';
}

/** What tells where a flow goes: all that `explain` needs, but no key. */
export interface RoutingConfig extends HostConfig, Pick<Config, 'groups' | 'groupPolicy'> {
  readonly bastions: readonly BastionConfig[];
}

/** The effective configuration, frozen to its depth. */
export interface Config extends HostConfig {
  /** As written: `true`, `false` or a path. */
  readonly sshConfig: string | undefined;
  /** At least one. */
  readonly bastions: readonly (BastionConfig & { readonly credentials: BastionCredentials })[];
  /** The first is the last resort. None: all bastions together, in their order. */
  readonly groups: readonly GroupConfig[];
  /** The policy where no group has its own. */
  readonly groupPolicy: GroupPolicy;
}
