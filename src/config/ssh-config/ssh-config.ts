import { globSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { NetproxyError } from '../../core/errors.ts';
import type { Problem } from '../../core/errors.ts';
import type { Environment } from '../environment.ts';
import type { ReadFile } from '../read-file.ts';
import { BadSshConfig, readLines } from './lines.ts';
import type { Directive, ParseSshConfig } from './lines.ts';
import { resolveHost } from './resolve.ts';
import type { Resolved, SshConfigSource, Target } from './resolve.ts';
import type { LocalUser } from './tokens.ts';

/** The file of all users, whose values come after a user's own (ssh_config(5)). */
const SYSTEM_FOLDER = '/etc/ssh';

export interface SshConfigOptions {
  /** `true` for the files that ssh reads, or the path of the only one. */
  readonly file: string;
  /** What gave that. */
  readonly where: string;
  readonly local: LocalUser;
  readonly environment: Environment;
  readonly readFile: ReadFile;
  readonly problems: Problem[];
}

/** The configuration of OpenSSH's client, read once; each host is looked up in it. */
export class SshConfig {
  readonly options: SshConfigOptions;
  readonly #parse: ParseSshConfig;
  readonly #files = new Map<string, readonly Directive[]>();
  readonly #sources: readonly SshConfigSource[];

  private constructor(options: SshConfigOptions, parse: ParseSshConfig) {
    this.options = options;
    this.#parse = parse;
    this.#sources = this.#open();
  }

  /** Reads the files; what is wrong with them goes to `problems`. */
  static async read(options: SshConfigOptions): Promise<SshConfig> {
    const { parse } = await import('ssh-config');
    return new SshConfig(options, parse);
  }

  /** What the files say of a host. */
  resolve(target: Omit<Target, 'localUser'>): Resolved {
    return resolveHost(this.#sources, { ...target, localUser: this.options.local.name });
  }

  #open(): readonly SshConfigSource[] {
    const { file, local, where } = this.options;
    const own = join(local.home, '.ssh');
    if (file !== 'true') return [this.#source(this.#read(file, where), own)];
    const paths = [
      [join(own, 'config'), own],
      [join(SYSTEM_FOLDER, 'ssh_config'), SYSTEM_FOLDER],
    ] as const;
    const there = paths.filter(([path]) => isFile(path));
    if (there.length === 0) {
      this.options.problems.push({
        code: 'CONFIG_UNREADABLE',
        where,
        message: `found "true", but there is neither ${paths[0][0]} nor ${paths[1][0]}`,
        hint: 'Give the path of the file; in a container, check that it is mounted.',
      });
    }
    return there.map(([path, folder]) => this.#source(this.#read(path, where), folder));
  }

  /** `folder` is where relative names of included files begin. */
  #source(directives: readonly Directive[], folder: string): SshConfigSource {
    return {
      directives,
      include: ({ args, where }) =>
        args.flatMap((pattern) => this.#matching(pattern, folder).map((path) => this.#read(path, where))),
    };
  }

  /** As ssh does, in the order of their names; what is not there is no fault. */
  #matching(pattern: string, folder: string): readonly string[] {
    const { home } = this.options.local;
    const path = pattern.startsWith('~/') ? join(home, pattern.slice(2)) : pattern;
    return globSync(isAbsolute(path) ? path : join(folder, path))
      .filter(isFile)
      .toSorted();
  }

  #read(path: string, where: string): readonly Directive[] {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const directives = this.#parsed(path, where);
    this.#files.set(path, directives);
    return directives;
  }

  #parsed(path: string, where: string): readonly Directive[] {
    const { readFile, problems } = this.options;
    try {
      return readLines(readFile(path).toString('utf8'), path, this.#parse);
    } catch (error) {
      if (error instanceof NetproxyError) {
        problems.push({ code: 'CONFIG_UNREADABLE', where, message: error.message, hint: error.hint });
      } else if (error instanceof BadSshConfig) {
        const at = `${path}:${error.line}`;
        const hint = 'Correct the line; "ssh -G HOST" checks the file too.';
        problems.push({ code: 'CONFIG_INVALID', where: at, message: error.message, hint });
      } else throw error;
      return [];
    }
  }
}

/** Whether there is a file at `path`, or a link to one. */
export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
