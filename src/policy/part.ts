import type { Facts } from './match.ts';

/** Some of the rules, in a form in which the first that matches is found quickly. */
export interface Part {
  /** Lowest number in it. */
  readonly min: number;
  /** The lowest number below `best` whose rule matches, or `best`. */
  find(facts: Facts, best: number): number;
}

/** Looks in `part`, unless there is none or it cannot hold a lower number. */
export function better(part: Part | undefined, facts: Facts, best: number): number {
  return part !== undefined && part.min < best ? part.find(facts, best) : best;
}
