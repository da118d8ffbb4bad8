import type { Family } from '../core/flow.ts';

/** One change of the namespace. */
export interface Step {
  /** `ip`: one line of `ip -batch`. `nft`: one line of a script for `nft -f`. */
  readonly tool: 'ip' | 'nft';
  /** 0 for what concerns no one family, such as the device. */
  readonly family: Family | 0;
  /** Of `nft`: the table that it is about. What is about one table is applied whole or not at all. */
  readonly table?: string;
  /** The command without the tool and the family's flag. */
  readonly line: string;
}

/** The command that does the same by hand. */
export function commandOf({ tool, family, line }: Step): string {
  // Braces and the like mean something to a shell. None of our lines holds a single quote.
  if (tool === 'nft') return `nft '${line}'`;
  return ['ip', ...(family === 0 ? [] : [`-${family}`]), line].join(' ');
}
