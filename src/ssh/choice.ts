import {
  GROUP_FAILBACK_MS,
  GROUP_LATENCY_MS,
  GROUP_LATENCY_PART,
  GROUP_LATENCY_SETTLE_MS,
} from '../core/limits.ts';

/** How a group chooses among its bastions. */
export type ChoicePolicy = 'failover' | 'least-latency' | 'round-robin';

/** What is known of a bastion. */
export interface Candidate {
  /** Connected. */
  readonly ready: boolean;
  /** Since when it has been healthy, in milliseconds of the clock; in the future while it is sick. */
  readonly healthySince: number;
  /** Smoothed, in milliseconds; undefined before the first. */
  readonly roundTripMs: number | undefined;
}

/**
 * Which bastion of a group the next connect uses. Only connected ones are chosen, and sick ones only when
 * there is no other. Does no I/O and owns no clock.
 */
export class Choice<C extends Candidate> {
  readonly policy: ChoicePolicy;
  #current: C | undefined;
  /** Seems better than the current one, and since when. */
  #challenger: { readonly candidate: C; readonly since: number } | undefined;

  constructor(policy: ChoicePolicy) {
    this.policy = policy;
  }

  /** The last one chosen. */
  get current(): C | undefined {
    return this.#current;
  }

  /** Undefined when none is connected. `candidates` are in order of preference; `now` is in milliseconds. */
  pick(candidates: readonly C[], now: number): C | undefined {
    const connected = candidates.filter(({ ready }) => ready);
    const healthy = connected.filter(({ healthySince }) => healthySince <= now);
    const usable = healthy.length > 0 ? healthy : connected;
    if (usable.length === 0) return undefined;
    if (this.policy === 'round-robin') this.#current = this.#next(candidates, usable);
    else if (this.#current === undefined || !usable.includes(this.#current)) {
      this.#challenger = undefined;
      this.#current = this.policy === 'failover' ? usable[0] : fastest(usable);
    } else if (this.policy === 'failover') this.#failBack(usable, this.#current, now);
    else this.#compare(fastest(usable), this.#current, now);
    return this.#current;
  }

  #next(candidates: readonly C[], usable: readonly C[]): C {
    const last = this.#current === undefined ? -1 : candidates.indexOf(this.#current);
    const turns = [...candidates.slice(last + 1), ...candidates.slice(0, last + 1)];
    return turns.find((candidate) => usable.includes(candidate))!;
  }

  #failBack(usable: readonly C[], current: C, now: number): void {
    const preferred = usable.slice(0, usable.indexOf(current));
    this.#current = preferred.find(({ healthySince }) => now - healthySince >= GROUP_FAILBACK_MS) ?? current;
  }

  #compare(best: C, current: C, now: number): void {
    if (!clearlyFaster(best, current)) {
      this.#challenger = undefined;
    } else if (this.#challenger?.candidate !== best) {
      this.#challenger = { candidate: best, since: now };
    } else if (now - this.#challenger.since >= GROUP_LATENCY_SETTLE_MS) {
      this.#challenger = undefined;
      this.#current = best;
    }
  }
}

const roundTrip = ({ roundTripMs }: Candidate): number => roundTripMs ?? Infinity;

/** The first of equals. */
function fastest<C extends Candidate>(candidates: readonly C[]): C {
  return candidates.reduce((best, next) => (roundTrip(next) < roundTrip(best) ? next : best));
}

function clearlyFaster(a: Candidate, b: Candidate): boolean {
  const [shorter, longer] = [roundTrip(a), roundTrip(b)];
  return longer - shorter > GROUP_LATENCY_MS && shorter < longer * (1 - GROUP_LATENCY_PART);
}
