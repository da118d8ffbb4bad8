/** The profiles of a folder, read again when it changes. One that is broken keeps what it was before. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileReader } from '../config/read-file.ts';
import { FileWatch } from '../config/watch.ts';
import { NetproxyError, ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { PROFILES_MAX } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { parseProfile } from './profile.ts';
import type { Profile } from './profile.ts';

/** Names of annotations' values that are names of files too. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const ENDING = '.yaml';

interface Reading {
  readonly profiles: ReadonlyMap<string, Profile>;
  /** By the name of the profile, or of the folder. */
  readonly problems: ReadonlyMap<string, readonly Problem[]>;
}

export class Profiles {
  readonly #folder: string;
  readonly #log: Log;
  #watch: FileWatch | undefined;
  #profiles: ReadonlyMap<string, Profile> = new Map();
  #broken: ReadonlyMap<string, readonly Problem[]> = new Map();
  #told = '';
  #reading: Promise<void> = Promise.resolve();

  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  /** Reads all and begins to watch. Throws a ProblemsError that has everything wrong with them. */
  async start(): Promise<void> {
    const { profiles, problems } = await this.#read();
    const found = [...problems.values()].flat();
    if (found.length > 0) throw new ProblemsError(found);
    this.#profiles = profiles;
    this.#tell();
    this.#watch = new FileWatch(
      () => this.reload(),
      (error) =>
        this.#log.warn({ error: error.message }, 'profiles cannot be watched: changes are not noticed'),
    );
    this.#watch.set(this.#files());
  }

  get(name: string): Profile | undefined {
    return this.#profiles.get(name);
  }

  get names(): readonly string[] {
    return [...this.#profiles.keys()].toSorted();
  }

  /** Names of those whose file is wrong as it stands. */
  get broken(): readonly string[] {
    return [...this.#broken.keys()].toSorted();
  }

  /** Everything that is wrong, a line each. */
  get problems(): readonly string[] {
    const wrong = [...this.#broken.values()].flat().map(({ where, message }) => `${where}: ${message}`);
    // No reason not to be ready: an installation may begin without.
    return this.#profiles.size === 0
      ? [...wrong, `${this.#folder}: there is no profile, and labelled pods are refused`]
      : wrong;
  }

  /** Reads all again, one reading after another. */
  reload(): void {
    const before = this.#reading;
    this.#reading = (async () => {
      await before;
      await this.#readAgain();
    })();
  }

  close(): void {
    this.#watch?.close();
  }

  async #readAgain(): Promise<void> {
    const { profiles, problems } = await this.#read();
    const kept = new Map(profiles);
    // What cannot even be listed is as it was.
    const lost = problems.has(this.#folder);
    for (const [name, profile] of this.#profiles) if (lost || problems.has(name)) kept.set(name, profile);
    this.#profiles = kept;
    this.#broken = problems;
    this.#tell();
    this.#watch?.set(this.#files());
  }

  #tell(): void {
    const told = JSON.stringify([...this.#profiles.values(), this.problems]);
    if (told === this.#told) return;
    this.#told = told;
    for (const [profile, problems] of this.#broken) {
      for (const { where, message, hint } of problems)
        this.#log.error({ code: 'PROFILE_INVALID', profile, hint }, `${where}: ${message}`);
    }
    this.#log.info({ profiles: this.names, broken: this.broken }, 'profiles were read');
  }

  /** The folder too: a file that is new has not been watched before. */
  #files(): string[] {
    const files = [...this.#profiles.keys()].map((name) => join(this.#folder, name + ENDING));
    return [this.#folder, join(this.#folder, '..data'), ...files];
  }

  async #read(): Promise<Reading> {
    const profiles = new Map<string, Profile>();
    const problems = new Map<string, readonly Problem[]>();
    const wrong = (name: string, message: string, hint?: string): void => {
      const where = name === this.#folder ? name : join(this.#folder, name + ENDING);
      problems.set(name, [
        { code: 'PROFILE_INVALID', where, message, ...(hint === undefined ? {} : { hint }) },
      ]);
    };
    let names: string[] = [];
    try {
      names = readdirSync(this.#folder)
        .filter((file) => file.endsWith(ENDING) && !file.startsWith('.'))
        .map((file) => file.slice(0, -ENDING.length));
    } catch (error) {
      wrong(this.#folder, (error as Error).message, 'Mount the ConfigMap of the profiles there.');
      return { profiles, problems };
    }
    if (names.length > PROFILES_MAX) wrong(this.#folder, `found more than ${PROFILES_MAX} profiles`);
    const read = fileReader('PROFILE_INVALID');
    for (const name of names.slice(0, PROFILES_MAX)) {
      if (!NAME.test(name)) {
        wrong(name, 'the name of a profile has 1 to 63 lower case letters, digits, "-" or "."');
        continue;
      }
      const path = join(this.#folder, name + ENDING);
      try {
        const parsed = await parseProfile(name, path, read(path).toString('utf8'));
        if ('container' in parsed) profiles.set(name, parsed);
        else problems.set(name, parsed);
      } catch (error) {
        if (!(error instanceof NetproxyError)) throw error;
        wrong(name, error.message, error.hint);
      }
    }
    return { profiles, problems };
  }
}
