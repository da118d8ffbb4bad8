import type { Kind } from './kind.ts';

/** The headings under which the help and the documentation list the settings, in order. */
export const GROUPS = [
  'Configuration',
  'Bastion',
  'Groups of bastions',
  'Rules',
  'Network',
  'DNS',
  'Flows',
  'Process',
  'Control',
  'Logging',
  'Injector',
] as const;

export interface Setting<T = unknown> {
  /** Path in the configuration file; `bastions[].x` is `x` of each item. Absent: flag and environment only. */
  readonly key?: string;
  /** Long flag, without dashes. */
  readonly flag?: string;
  /** Short flag, without the dash. */
  readonly short?: string;
  readonly env?: string;
  readonly kind: Kind<T>;
  /** Several values: a list in the file, the flag again, commas in the environment. */
  readonly list?: true;
  /** Of a list: in the file, a single value stands for a list of one. */
  readonly one?: true;
  /** Of a list: the environment has it in one piece, which is divided later. */
  readonly whole?: true;
  /** As one would write it. Absent without `required`: unset. */
  readonly default?: string;
  /** The value that the flag alone stands for. */
  readonly bare?: string;
  /** What a bastion cannot do without. */
  readonly required?: true;
  /** The file named holds a secret: its contents are never printed. */
  readonly secret?: true;
  readonly group: (typeof GROUPS)[number];
  /** One sentence. */
  readonly description: string;
}
