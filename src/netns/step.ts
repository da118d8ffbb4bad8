import type { Family } from '../core/flow.ts';

/** One change of the namespace: exactly one run of `ip`. */
export interface Step {
  /** 0 for what concerns no one family, such as the device. */
  readonly family: Family | 0;
  /** The command without `ip` and the family's flag; one line of `ip -batch`. */
  readonly line: string;
}

/** The command that does the same by hand. */
export function commandOf(step: Step): string {
  return ['ip', ...(step.family === 0 ? [] : [`-${step.family}`]), step.line].join(' ');
}
