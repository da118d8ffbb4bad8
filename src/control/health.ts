/** Whether netproxy is ready, as conditions that each have a reason and an age. */

/** One thing that must hold. `sinceMs` is when it last changed between holding and not. */
interface Condition {
  readonly ok: boolean;
  readonly reason: string;
  readonly sinceMs: number;
}

/** A condition as it is told to others; `forSeconds` is how long it has been so. */
export interface ToldCondition {
  readonly name: string;
  readonly ok: boolean;
  readonly reason: string;
  readonly forSeconds: number;
}

/** What readiness is made of, in the order in which a start fulfils it. */
export type ConditionName = 'takeover' | 'bastion' | 'channel';

const CONDITIONS: readonly ConditionName[] = ['takeover', 'bastion', 'channel'];
const MS_PER_S = 1000;

export class Health {
  readonly #now: () => number;
  readonly #conditions = new Map<ConditionName, Condition>();
  #waiting: (() => void)[] = [];

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
    for (const name of CONDITIONS) {
      this.#conditions.set(name, { ok: false, reason: 'not yet', sinceMs: now() });
    }
  }

  /** Says how a condition is now. Repeating it changes the reason, not the age. */
  set(name: ConditionName, ok: boolean, reason: string): void {
    const before = this.#conditions.get(name)!;
    const sinceMs = before.ok === ok ? before.sinceMs : this.#now();
    this.#conditions.set(name, { ok, reason, sinceMs });
    if (!this.ready) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  get ready(): boolean {
    return [...this.#conditions.values()].every(({ ok }) => ok);
  }

  /** Resolves when all conditions hold, at once if they do. */
  whenReady(): Promise<void> {
    if (this.ready) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  conditions(): readonly ToldCondition[] {
    const now = this.#now();
    return [...this.#conditions].map(([name, { ok, reason, sinceMs }]) => ({
      ...{ name, ok, reason },
      forSeconds: Math.round((now - sinceMs) / MS_PER_S),
    }));
  }
}
