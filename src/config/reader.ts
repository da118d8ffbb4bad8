import type { ErrorCode, Problem } from '../core/errors.ts';
import type { Placed } from './credentials.ts';
import type { Environment } from './environment.ts';
import { readEnvironment } from './environment.ts';
import { readConfigFile } from './file.ts';
import type { FileSettings } from './file.ts';
import { fileReader } from './read-file.ts';
import type { ReadFile } from './read-file.ts';
import { setting } from './settings.ts';
import type { SettingId, SettingValues } from './settings.ts';
import { originOf, readValue } from './value.ts';
import type { Given } from './value.ts';

/** Where values come from. In order of precedence: flags, environment, file, defaults. */
export interface ReaderSources {
  readonly flags: ReadonlyMap<SettingId, readonly Given[]>;
  readonly environment: Environment;
  /** Problems already found in the command line, to be reported with the rest. */
  readonly problems?: readonly Problem[];
  /** Where files come from; the file system when absent. */
  readonly readFile?: ReadFile;
  /** Told of every file that is about to be read, whether it is there or not. */
  onFile?(path: string): void;
}

/** Finds the value of each setting, and keeps what is wrong and where each value came from. */
export class SettingReader {
  readonly problems: Problem[];
  /** As in `Loaded`. */
  readonly origins: Map<string, string> = new Map();
  readonly environment: Environment;
  wrongValues = 0;
  file: FileSettings = { given: new Map(), lists: new Map() };
  readonly #sources: ReaderSources;
  readonly #variables: ReadonlyMap<SettingId, readonly Given[]>;
  /** Names of bastions and groups, with their places. */
  readonly #names = new Map<string, string>();

  constructor(sources: ReaderSources) {
    this.#sources = sources;
    this.environment = sources.environment;
    this.problems = [...(sources.problems ?? [])];
    this.#variables = readEnvironment(sources.environment, this.problems);
  }

  async readFile(): Promise<void> {
    const path = this.first('config', undefined);
    if (path === undefined) return;
    const read = this.files('CONFIG_UNREADABLE');
    const where = this.given('config', undefined)?.[0]?.where ?? path;
    this.file = await readConfigFile(path, where, read, this.problems);
  }

  files(code: ErrorCode): ReadFile {
    const read = this.#sources.readFile ?? fileReader(code);
    return (path) => {
      this.#sources.onFile?.(path);
      return read(path);
    };
  }

  /** Whether the command line names the setting, be it without a value. */
  flagged(id: SettingId): boolean {
    return this.#sources.flags.has(id);
  }

  /** What the strongest source gives, or undefined. `file` is the map that the setting stands in. */
  given(id: SettingId, file: FileSettings['given'] | undefined): readonly Given[] | undefined {
    return this.#sources.flags.get(id) ?? this.#variables.get(id) ?? file?.get(id);
  }

  where(id: SettingId, file: FileSettings['given']): string | undefined {
    return this.given(id, file)?.[0]?.where;
  }

  /** The value, or the default; its origin is kept under `path`. */
  first<I extends SettingId>(
    id: I,
    file: FileSettings['given'] | undefined,
    path?: string,
  ): SettingValues[I] | undefined {
    const row = setting(id);
    const given = this.given(id, file)?.[0];
    if (path !== undefined && (given ?? row.default) !== undefined) this.origins.set(path, originOf(given));
    if (given !== undefined) return this.#read(id, given);
    return row.default === undefined ? undefined : row.kind.parse(row.default);
  }

  /** The values of a list, each with its place. */
  placed<I extends SettingId>(id: I, file: FileSettings['given'], path: string): Placed<SettingValues[I]>[] {
    const given = this.given(id, file);
    this.origins.set(path, originOf(given?.[0]));
    return (given ?? []).flatMap((each) => {
      const value = this.#read(id, each);
      return value === undefined ? [] : [{ value, where: each.where }];
    });
  }

  /** One value may hold for several bastions: what is wrong with it is told once, and counted each time. */
  #read<I extends SettingId>(id: I, given: Given): SettingValues[I] | undefined {
    const found: Problem[] = [];
    const value = readValue(setting(id), given, found);
    this.wrongValues += found.length;
    for (const problem of found) {
      const told = this.problems.some(
        ({ where, message }) => where === problem.where && message === problem.message,
      );
      if (!told) this.problems.push(problem);
    }
    return value;
  }

  missing(id: SettingId, where: string, key: string, more = ''): void {
    const { flag, env, kind } = setting(id);
    const ways = [
      flag && `give --${flag} ${kind.placeholder}`,
      env && `set ${env}`,
      `write "${key}:" in the file`,
    ];
    const fix = ways.filter(Boolean).join(', ');
    this.problems.push({
      code: 'CONFIG_INVALID',
      where,
      message: `${key} is missing; allowed: ${kind.allowed}${more}`,
      hint: `${fix[0]?.toUpperCase()}${fix.slice(1)}.`,
    });
  }

  /** Names of bastions and groups so far. */
  get names(): readonly string[] {
    return [...this.#names.keys()];
  }

  /** Keeps a name, which nobody may have yet. */
  name(what: string, name: string | undefined, where: string): void {
    if (name === undefined) return;
    const other = this.#names.get(name);
    this.#names.set(name, where);
    if (other === undefined) return;
    this.problems.push({
      code: 'CONFIG_INVALID',
      where,
      message: `found "${name}", which is the name of another ${what} (${other}); allowed: names that differ`,
      hint: 'Rename one of the two.',
    });
  }
}
