import type { Config, HostConfig, LogConfig } from '../config/config.ts';
import type { Environment } from '../config/environment.ts';
import type { JudgedBastion } from '../config/load.ts';
import type { ConfigSource } from '../control/reload.ts';
import type { Job } from './job.ts';
import type { Problem } from '../core/errors.ts';
import type { Finding } from '../core/finding.ts';
import type { LeveledLog } from '../core/logger.ts';
import type { RecentLines } from '../core/recent-lines.ts';

/** What a command may use of the process. */
export interface Io {
  readonly log: LeveledLog;
  /** The last lines of that log. */
  readonly recent: RecentLines;
  /** From now on what is less severe is not logged. */
  logLevel(level: LogConfig['level']): void;
  /** Writes to stdout, the command's own output. `text` ends with a newline. */
  print(text: string): void;
  /** Aborted by the first SIGTERM or SIGINT; the reason is the signal's name. */
  readonly stop: AbortSignal;
  /** Of netproxy. */
  readonly version: string;
  /** The operator wants JSON. */
  readonly json: boolean;
}

/** A host key that a server has proved to have. */
export interface ScannedKey {
  readonly type: string;
  /** `TYPE BASE64`, as in a `.pub` file. */
  readonly key: string;
  readonly fingerprint: string;
  /** The line for known_hosts. */
  readonly knownHosts: string;
}

/** What the doctor looks at, beside the machine. */
export interface Examined {
  readonly host: HostConfig;
  /** Undefined when none was given, or it has problems. */
  readonly config: Config | undefined;
  /** What is wrong with the configuration and the files that it names. */
  readonly problems: readonly Problem[];
  /** Every file that was read. */
  readonly files: readonly string[];
  /** Whether to do without the network. */
  readonly offline: boolean;
}

/** A container that was found in a dead network namespace, or whose provider is gone. */
export interface ToldRepair {
  readonly container: { readonly id: string; readonly name: string };
  readonly provider: { readonly id: string; readonly name: string } | undefined;
  readonly kind: 'restart' | 'recreate' | 'none';
  readonly why: string;
  readonly fix?: string;
  readonly done: boolean;
  readonly error?: string;
}

/** A container that has to do with netproxy. */
export interface ToldContainer {
  readonly id: string;
  readonly name: string;
  readonly running: boolean;
  readonly role: 'attached' | 'provider' | 'dependent';
  readonly provider?: string;
  readonly namespace: 'own' | 'alive' | 'orphaned' | 'gone' | 'provider-stopped' | 'stopped';
  readonly health?: string;
  /** Number of its network namespace, where that can be seen. */
  readonly netns?: string;
}

/** The settings of a container with these labels, and where they come from. Throws a ProblemsError. */
export type LabelledSettings = (
  labels: Readonly<Record<string, string>>,
  name: string,
) => Promise<{
  readonly config: Config;
  readonly source: ConfigSource;
  /** Whether nobody gave the setting. */
  readonly isDefault: (key: string) => boolean;
}>;

export interface AttachInput {
  /** Name or number; undefined for all with a label, as they come and go. */
  readonly container: string | undefined;
  /** Says where the engine is (DOCKER_HOST). */
  readonly environment: Environment;
  readonly settings: LabelledSettings;
}

/** What the commands do, as the composition root provides it. Errors are NetproxyErrors where known. */
export interface Commands {
  /** Forwards until `io.stop`, then ends in order. `ready` is called once, with the line to print. */
  run(config: Config, io: Io, ready: (line: string) => void, source: ConfigSource): Promise<void>;
  /** Runs a command in a network namespace of its own, forwards for as long as it runs, and gives its exit code. */
  exec(config: Config, io: Io, job: Job, source: ConfigSource): Promise<number>;
  /** Judges what only the parts can: the private key, its passphrase, known_hosts. Touches no network. */
  check(config: Config, io: Io): Promise<readonly Problem[]>;
  /** The same for one bastion, of which some files may lack; places are its keys, such as `identityFile`. */
  judge(bastion: JudgedBastion): Promise<readonly Problem[]>;
  /** All host keys of a server; each connection may take `timeoutMs`. Rejects with an Error that says why. */
  keyscan(host: string, port: number, timeoutMs: number): Promise<readonly ScannedKey[]>;
  /** Looks at everything that `run` depends on. Changes nothing. */
  doctor(patient: Examined): Promise<readonly Finding[]>;
  /** The state of the network namespace, as texts by the names of files. */
  namespace(): Promise<Readonly<Record<string, string>>>;
  /** Prints the steps that `run` would take on the host. */
  plan(config: HostConfig, io: Io): Promise<void>;
  /** Puts the host back as it was, whoever changed it. */
  release(config: HostConfig, io: Io): Promise<void>;
  /** Carries the traffic of containers until `io.stop`; `ready` is called with a line for each that works. */
  attach(input: AttachInput, io: Io, ready: (line: string) => void): Promise<void>;
  /** Repairs what lost its network namespace; `provider` for those of which it cannot be told. */
  reattach(input: {
    readonly environment: Environment;
    readonly dryRun: boolean;
    readonly provider: string | undefined;
  }): Promise<readonly ToldRepair[]>;
  /** The containers that are attached, provide a network or share one. */
  containers(environment: Environment): Promise<readonly ToldContainer[]>;
}
