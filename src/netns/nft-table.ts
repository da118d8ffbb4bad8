/** A table of nftables as wanted, and how what `nft` lists is compared with it. */
import { createHash } from 'node:crypto';

export interface Chain {
  readonly name: string;
  readonly type: 'filter' | 'route' | 'nat';
  readonly hook: 'prerouting' | 'output' | 'forward' | 'postrouting';
  /** A number, as the kernel tells it: names differ between versions of nft. */
  readonly priority: number;
  /** What each rule is for, which stands in the table as its comment, and the rule. */
  readonly rules: readonly (readonly [purpose: string, rule: string])[];
}

/**
 * Lines of a script for `nft -f` that make the table anew, whole or not at all; `contents` are those of what chains
 * refer to.
 */
export function tableScript(
  table: string,
  chains: readonly Chain[],
  contents: readonly string[] = [],
): string[] {
  return [
    // Deleting what is not there fails, so it is made first.
    `add table ${table}`,
    `delete table ${table}`,
    `add table ${table}`,
    ...contents,
    ...chains.flatMap(({ name, type, hook, priority, rules }) => [
      `add chain ${table} ${name} { type ${type} hook ${hook} priority ${priority}; policy accept; }`,
      ...rules.map(
        ([purpose, rule]) => `add rule ${table} ${name} ${rule} comment "${comment(purpose, rule)}"`,
      ),
    ]),
  ];
}

/** What `nft -j list table` tells of such a table, shortened to one text for each chain and rule. */
export function tableSignature(chains: readonly Chain[]): readonly string[] {
  return chains.flatMap((chain) => [
    chainSignature(chain.name, chain.type, chain.hook, chain.priority),
    ...chain.rules.map(([purpose, rule]) => ruleSignature(chain.name, comment(purpose, rule))),
  ]);
}

/** Text of a chain in a signature. */
export function chainSignature(name: string, type: string, hook: string, priority: number): string {
  return `${name}: ${type} ${hook} ${priority}`;
}

/** Text of a rule in a signature. */
export function ruleSignature(chain: string, text: string): string {
  return `${chain}: ${text}`;
}

/**
 * A rule as `nft` lists it is written otherwise than it was given, and otherwise by each version: the digest in its
 * comment says what it was made from.
 */
function comment(purpose: string, rule: string): string {
  return `${purpose} #${createHash('sha256').update(rule).digest('hex').slice(0, 8)}`;
}
