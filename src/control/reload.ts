import { changes } from '../config/changes.ts';
import type { Config } from '../config/config.ts';
import type { Described } from '../config/describe.ts';
import { FileWatch } from '../config/watch.ts';
import { NetproxyError, ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

/** Where the configuration of a run comes from, to be read again. */
export interface ConfigSource {
  /** Reads everything anew, as at start. Throws a ProblemsError. */
  read(): Promise<Config>;
  /** The same problems, with the places that the last configuration read came from. */
  place(error: ProblemsError): ProblemsError;
  /** The settings of the last configuration read, with where each came from; without secrets. */
  describe(): readonly Described[];
  /** Every file that the last reading looked at. */
  readonly files: ReadonlySet<string>;
}

export interface ReloadOptions {
  readonly config: Config;
  readonly source: ConfigSource;
  readonly log: Log;
  /** What only the parts can judge. Changes nothing. */
  judge(config: Config): Promise<readonly Problem[]>;
  /** Puts a sound configuration into effect. `changed` names its settings that differ, as `changes` does. */
  apply(config: Config, changed: readonly string[]): Promise<void>;
}

/** Settings that hold for the life of the process. */
const NEEDS_RESTART =
  /^(tun\.|control\.(socket|listen)|layers\b|dns\.(port|fake)|log\.format$|user$|seccomp$)/;

/**
 * Reads the configuration, and all files that it names, again on SIGHUP and when one of them changes.
 * One that is wrong is refused as a whole, and what runs goes on.
 */
export class Reload {
  readonly #options: ReloadOptions;
  readonly #watch: FileWatch;
  readonly #onHangup = (): void => void this.#reload('SIGHUP');
  #config: Config;
  #running = false;
  /** Asked for while one was running. */
  #again: string | undefined;
  #stopped = false;

  constructor(options: ReloadOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#watch = new FileWatch(
      () => void this.#reload('a changed file'),
      (error) =>
        options.log.warn({ reason: error.message }, 'a file cannot be watched; SIGHUP has it read again'),
    );
  }

  start(): void {
    process.on('SIGHUP', this.#onHangup);
    this.#follow();
  }

  stop(): void {
    this.#stopped = true;
    process.off('SIGHUP', this.#onHangup);
    this.#watch.close();
  }

  #follow(): void {
    if (this.#config.watch) this.#watch.set(this.#options.source.files);
    else this.#watch.close();
  }

  async #reload(why: string): Promise<void> {
    if (this.#running) {
      this.#again = why;
      return;
    }
    this.#running = true;
    await this.#once(why);
    this.#running = false;
    const again = this.#again;
    this.#again = undefined;
    if (again !== undefined && !this.#stopped) await this.#reload(again);
  }

  async #once(why: string): Promise<void> {
    const { source, log } = this.#options;
    try {
      const config = await source.read();
      const changed = changes(this.#config, config);
      if (changed.length === 0) {
        if (why === 'SIGHUP') log.info({ why }, 'the configuration was read again: nothing has changed');
        return;
      }
      const problems = await this.#options.judge(config);
      if (problems.length > 0) throw source.place(new ProblemsError(problems));
      if (this.#stopped) return;
      log.info({ why, changed }, 'the configuration has changed');
      const late = changed.filter((key) => NEEDS_RESTART.test(key));
      if (late.length > 0) log.warn({ changed: late }, `after a restart only: ${late.join(', ')}`);
      await this.#options.apply(config, changed);
      this.#config = config;
    } catch (error) {
      this.#refused(error, why);
    } finally {
      // Also after a failure: the file that was wrong is the one to wait for.
      if (!this.#stopped) this.#follow();
    }
  }

  #refused(error: unknown, why: string): void {
    const { log } = this.#options;
    const known = error instanceof ProblemsError ? error.problems : [];
    for (const { code, where, message, hint } of known) log.error({ code, hint }, `${where}: ${message}`);
    const code = error instanceof NetproxyError ? error.code : 'INTERNAL';
    const reason = error instanceof Error ? error.message : String(error);
    log.error({ why, code }, `the new configuration is refused, and the old one stays: ${reason}`);
  }
}
