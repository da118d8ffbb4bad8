/**
 * Keeps a namespace taken over: whatever an operator, DHCP, a container engine or another program changes
 * is put right again. It acts on the difference, so what it did itself asks for nothing more.
 */
import {
  KEEPER_INTERVAL_MS,
  KEEPER_RETRY_FIRST_MS,
  KEEPER_RETRY_LAST_MS,
  KEEPER_SETTLE_MS,
  KEEPER_STEPS_TOLD_MAX,
} from '../core/limits.ts';
import type { HeldAddresses } from '../core/held-addresses.ts';
import type { Log } from '../core/log.ts';
import type { TakeOverInput } from './desired.ts';
import { readFilter } from './filter-facts.ts';
import type { NetRunner } from './runner.ts';
import { commandOf } from './step.ts';
import { takeOver } from './takeover.ts';
import type { TakenOver } from './takeover.ts';

/** Calls back whenever the namespace may have changed; gives the function that ends it. */
export type Watch = (onChange: () => void) => () => void;

export class Keeper {
  #input: TakeOverInput;
  readonly #runner: NetRunner;
  readonly #watch: Watch;
  readonly #held: HeldAddresses;
  readonly #log: Log;
  /** The last takeover, on which the next one waits: two at once would undo each other. */
  #last: Promise<unknown> = Promise.resolve();
  #endWatch: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastAt = -Infinity;
  #retryMs = KEEPER_RETRY_FIRST_MS;
  /** Warnings that were told already. */
  readonly #told = new Set<string>();

  /** `held` is told of the namespace's addresses at every look. */
  constructor(input: TakeOverInput, runner: NetRunner, watch: Watch, held: HeldAddresses, log: Log) {
    this.#input = input;
    this.#runner = runner;
    this.#watch = watch;
    this.#held = held;
    this.#log = log;
  }

  /** Takes the namespace over, and keeps it from then on. */
  async start(): Promise<TakenOver> {
    const taken = await this.#takeOver();
    this.#endWatch = this.#watch(() => this.#changed());
    // Something may have changed between the reading and the watch.
    this.#changed();
    return taken;
  }

  /** Other networks are to stay local from now on. */
  async follow(input: TakeOverInput): Promise<TakenOver> {
    this.#input = input;
    return this.#takeOver();
  }

  /** Packets that left although they may not, and those that the filter refused; undefined where there is none. */
  async counts(): Promise<{ leaked: number; refused: number } | undefined> {
    const facts = await readFilter(this.#runner);
    if (facts.state !== 'present') return undefined;
    return { leaked: facts.memory.leaked.packets, refused: facts.memory.refused.packets };
  }

  /** Leaves everything as it is. Resolves when nothing is being changed any more. */
  async stop(): Promise<void> {
    this.#endWatch?.();
    this.#endWatch = undefined;
    clearTimeout(this.#timer);
    await this.#last.catch(() => {});
  }

  #takeOver(): Promise<TakenOver> {
    const next = this.#last.catch(() => {}).then(() => takeOver(this.#input, this.#runner));
    this.#last = next;
    return next.then((taken) => {
      this.#lastAt = performance.now();
      this.#held.tell(taken.addresses, taken.networks);
      for (const warning of taken.warnings) {
        if (!this.#told.has(warning)) this.#log.warn({}, warning);
        this.#told.add(warning);
      }
      return taken;
    });
  }

  /** Changes come in bursts; the first look is soon, later ones no more often than so. */
  #changed(): void {
    if (this.#timer !== undefined || this.#endWatch === undefined) return;
    const due = Math.max(KEEPER_SETTLE_MS, this.#lastAt + KEEPER_INTERVAL_MS - performance.now());
    this.#timer = setTimeout(() => void this.#restore(), due);
  }

  async #restore(): Promise<void> {
    this.#timer = undefined;
    try {
      const { steps } = await this.#takeOver();
      this.#retryMs = KEEPER_RETRY_FIRST_MS;
      if (steps.length === 0) return;
      const commands = steps.slice(0, KEEPER_STEPS_TOLD_MAX).map(commandOf);
      this.#log.warn(
        { steps: steps.length, commands },
        `the network of the namespace was changed by somebody; ${steps.length} steps put it right`,
      );
    } catch (error) {
      // Half a change of somebody else's, mostly: an address before its device is up.
      this.#log.warn(
        { error: (error as Error).message },
        'putting the network right failed, and is tried again',
      );
      if (this.#endWatch === undefined) return;
      this.#timer ??= setTimeout(() => void this.#restore(), this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, KEEPER_RETRY_LAST_MS);
    }
  }
}
