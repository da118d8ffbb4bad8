import type { Secret } from '../core/secret.ts';

/** One SSH server that may carry flows. */
export interface BastionConfig {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly identityFile: string;
  readonly identityPassphraseFile: string | undefined;
  readonly knownHostsFile: string;
}

/** What the files of a bastion held, as read at start; parsed and judged by `ssh`. */
export interface BastionCredentials {
  readonly identity: Secret<Buffer>;
  readonly identityPassphrase: Secret<string> | undefined;
  /** Text of the known_hosts file. */
  readonly knownHosts: string;
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
  /** Networks in canonical text. */
  readonly local: readonly string[];
  /** What a stop in order leaves behind. */
  readonly onExit: 'closed' | 'open';
  /** Milliseconds. */
  readonly connectHold: number;
  /** Milliseconds. */
  readonly dialTimeout: number;
  readonly log: LogConfig;
}

export interface LogConfig {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: 'auto' | 'human' | 'json';
}

/** The effective configuration, frozen to its depth. */
export interface Config extends HostConfig {
  /** At least one; the first is the last resort. */
  readonly bastions: readonly (BastionConfig & { readonly credentials: BastionCredentials })[];
}
