import { commandOf } from './step.ts';
import type { Step } from './step.ts';

/** The steps as a script that does the same, one command a line; empty when there are none. */
export function describe(steps: readonly Step[]): string {
  return steps.map((step) => `${commandOf(step)}\n`).join('');
}
