/**
 * Keeps containers attached while they run, and no others: whatever an event says, what counts is what the engine
 * then tells of the container, so that events that were lost or doubled make no difference.
 */
import {
  ATTACH_AT_ONCE,
  ATTACH_RETRY_FIRST_MS,
  ATTACH_RETRY_LAST_MS,
  ATTACH_TURN_MS,
  ATTACHED_MAX,
  ENGINE_RETRY_FIRST_MS,
  ENGINE_RETRY_LAST_MS,
} from '../core/limits.ts';
import { NetproxyError, ProblemsError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Container } from './container.ts';
import type { Chosen, Engine } from './engine.ts';

export interface WatcherOptions {
  readonly engine: Engine;
  /**
   * A single container is to run, and to be carried at once, or else `run` throws; one with a label may fail alone.
   */
  readonly chosen: Chosen;
  readonly log: Log;
  /**
   * Carries the traffic of a container until `signal`, whose reason is `GONE` when the container has ended, so that
   * there is nothing to put back. Resolves when all is put back; `ready` is called once it works.
   */
  readonly carry: (container: Container, signal: AbortSignal, ready: () => void) => Promise<void>;
  /** Whether trying again cannot help before the container is started anew. */
  readonly isLasting: (error: unknown) => boolean;
}

/** The reason by which an attachment ends whose container has ended. */
export const GONE = 'gone';

interface Attachment {
  readonly container: Container;
  readonly end: AbortController;
}

export class Watcher {
  readonly #options: WatcherOptions;
  readonly #attachments = new Map<string, Attachment>();
  /** Also those whose containers have ended. */
  readonly #ending = new Set<Promise<void>>();
  /** One look at a container waits for the one before, lest an older answer overtake a newer one. */
  readonly #looks = new Map<string, Promise<void>>();
  /** Containers that were told to be too many. */
  readonly #refused = new Set<string>();
  readonly #failed = Promise.withResolvers<never>();
  #everReady = false;
  #beginning = 0;
  #waiting: (() => void)[] = [];
  #stopped = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#failed.promise.catch(() => {});
  }

  /**
   * Watches until `stop`, then ends every attachment. Throws when the engine cannot be had at the start, and what
   * goes wrong with a single container; `begun` is called once it is known how many containers run.
   */
  async run(stop: AbortSignal, begun: (containers: number) => void): Promise<void> {
    try {
      await Promise.race([this.#watch(stop, begun), this.#failed.promise]);
    } finally {
      this.#stopped = true;
      for (const { end } of this.#attachments.values()) end.abort(stop.reason);
      await Promise.all(this.#ending);
    }
  }

  async #watch(stop: AbortSignal, begun: (containers: number) => void): Promise<void> {
    const { log } = this.#options;
    let waitMs = ENGINE_RETRY_FIRST_MS;
    let first = true;
    while (!stop.aborted && !this.#stopped) {
      try {
        await this.#follow(stop, (containers) => {
          if (first) begun(containers);
          else log.info({ containers }, 'the container engine is back');
          first = false;
          waitMs = ENGINE_RETRY_FIRST_MS;
        });
        if (!stop.aborted) log.warn({}, 'the container engine has ended the stream of its events');
      } catch (error) {
        if (first) throw error;
        if (!stop.aborted)
          log.warn({ error: (error as Error).message }, 'the container engine is away, and is tried again');
      }
      await pause(waitMs, stop);
      waitMs = Math.min(waitMs * 2, ENGINE_RETRY_LAST_MS);
    }
  }

  /** One connection to the engine. */
  async #follow(stop: AbortSignal, known: (containers: number) => void): Promise<void> {
    const { engine, chosen } = this.#options;
    const end = new AbortController();
    const signal = AbortSignal.any([stop, end.signal]);
    try {
      // Ahead of the list, so that nothing happens between the two unseen.
      const events = await engine.events(chosen, signal);
      const running = await this.#running();
      const numbers = new Set(running.map(({ id }) => id));
      for (const id of this.#attachments.keys()) if (!numbers.has(id)) this.#leave(id);
      for (const container of running) this.#see(container);
      known(running.length);
      for await (const { id } of events) this.#look(id);
    } catch (error) {
      if (!stop.aborted) throw error;
    } finally {
      end.abort();
    }
  }

  async #running(): Promise<readonly Container[]> {
    const { engine, chosen } = this.#options;
    if ('label' in chosen) return engine.containers(chosen.label);
    try {
      const container = await engine.inspect(chosen.container);
      return container.running ? [container] : [];
    } catch (error) {
      this.#lost(error);
      throw error;
    }
  }

  /** Something has happened to a container. */
  #look(id: string): void {
    const look = async (): Promise<void> => {
      try {
        const container = await this.#options.engine.inspect(id);
        if (container.running) this.#see(container);
        else this.#leave(id);
      } catch (error) {
        // When the engine is away, everything is looked at as soon as it is back.
        if (this.#lost(error)) this.#leave(id);
      }
    };
    const last = (this.#looks.get(id) ?? Promise.resolve()).then(look).finally(() => {
      if (this.#looks.get(id) === last) this.#looks.delete(id);
    });
    this.#looks.set(id, last);
  }

  /** Whether a container is not there any more, after which a single one ends all. */
  #lost(error: unknown): boolean {
    const lost = error instanceof NetproxyError && error.code === 'CONTAINER_UNKNOWN';
    if (lost && 'container' in this.#options.chosen) this.#failed.reject(error);
    return lost;
  }

  #leave(id: string): void {
    this.#attachments.get(id)?.end.abort(GONE);
    this.#attachments.delete(id);
    this.#refused.delete(id);
  }

  #see(container: Container): void {
    const { id, name, startedAt } = container;
    if (this.#stopped) return;
    const before = this.#attachments.get(id);
    // One that was started again has another namespace.
    if (before?.container.startedAt === startedAt) return;
    if (before !== undefined) this.#leave(id);
    if (this.#attachments.size >= ATTACHED_MAX) {
      const why = `${ATTACHED_MAX} containers are attached; another netproxy has to take the rest`;
      if (!this.#refused.has(id))
        this.#options.log.error({ container: name }, `${name}: not attached: ${why}`);
      this.#refused.add(id);
      return;
    }
    const attachment: Attachment = { container, end: new AbortController() };
    this.#attachments.set(id, attachment);
    const ended = this.#keep(attachment).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }

  /** Carries the traffic of the container, again and again while that fails and may not fail for ever. */
  async #keep({ container, end }: Attachment): Promise<void> {
    const { log, carry, isLasting, chosen } = this.#options;
    const { name } = container;
    let waitMs = ATTACH_RETRY_FIRST_MS;
    while (!end.signal.aborted) {
      const begun = await this.#begin(end.signal);
      try {
        if (end.signal.aborted) return;
        await carry(container, end.signal, () => {
          this.#everReady = true;
          waitMs = ATTACH_RETRY_FIRST_MS;
          begun();
        });
        log.info({ container: name, why: String(end.signal.reason) }, `${name}: detached`);
      } catch (error) {
        if (end.signal.aborted && end.signal.reason === GONE) return;
        if ('container' in chosen && !this.#everReady) {
          this.#failed.reject(error);
          return;
        }
        const lasting = isLasting(error);
        this.#tell(
          name,
          error,
          lasting ? 'not tried again before the container is started anew' : 'tried again',
        );
        if (lasting) return;
      } finally {
        begun();
      }
      await pause(waitMs, end.signal);
      waitMs = Math.min(waitMs * 2, ATTACH_RETRY_LAST_MS);
    }
  }

  /** Everything that is wrong with a container, a line each. */
  #tell(container: string, error: unknown, next: string): void {
    const { code, hint, message = String(error) } = error as Partial<NetproxyError>;
    const problems = error instanceof ProblemsError ? error.problems : [];
    for (const problem of problems.length > 1 ? problems : []) {
      const fields = { container, code: problem.code, hint: problem.hint };
      this.#options.log.error(fields, `${container}: ${problem.where}: ${problem.message}`);
    }
    this.#options.log.error({ container, code, hint }, `${container}: ${message}; ${next}`);
  }

  /**
   * Waits for its turn, which is over when the function is called, or after a while: one whose bastion is away does
   * not keep the others waiting.
   */
  async #begin(signal: AbortSignal): Promise<() => void> {
    while (this.#beginning >= ATTACH_AT_ONCE && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    this.#beginning++;
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      this.#beginning--;
      for (const resume of this.#waiting.splice(0)) resume();
    };
    const timer = setTimeout(end, ATTACH_TURN_MS);
    return end;
  }
}

/** Ends sooner when the signal does. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
