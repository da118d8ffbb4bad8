/** Rules that can never decide, because those before them take all that they would. */
import { RULE_COMPARISONS_MAX } from '../core/limits.ts';
import { contains, networkOf } from './address-words.ts';
import type { Network } from './address-words.ts';
import { LOCAL_ONLY } from './guard.ts';
import { isWithin, nameMatches } from './match.ts';
import { parseNamePattern } from './name-pattern.ts';
import type { PortRange, Rule } from './rule.ts';

export interface Shadowed {
  /** Number of the rule that can never match. */
  readonly index: number;
  /** Numbers of the rules that take its flows; none: nothing that it asks for ever leaves. */
  readonly by: readonly number[];
}

interface Prepared {
  readonly rule: Rule;
  readonly networks: readonly Network[];
}

/** A part of a rule: one of its networks and one of its ranges of ports, where it asks for them. */
interface Piece {
  readonly rule: Rule;
  readonly network: Network | undefined;
  readonly ports: PortRange | undefined;
}

/**
 * Finds them. Each network and range of a rule may be taken by another rule before it; what only several
 * rules together take from one of them is not seen. Stops after a bounded number of comparisons, so that of
 * very many rules the last may not be judged. Pure.
 */
export function shadowedRules(rules: readonly Rule[]): Shadowed[] {
  const prepared = rules.map((rule): Prepared => ({ rule, networks: rule.to.map(networkOf) }));
  const found: Shadowed[] = [];
  let left = RULE_COMPARISONS_MAX;
  for (const [index, one] of prepared.entries()) {
    const by = new Set<number>();
    const taken = piecesOf(one).every((piece) => {
      if (piece.network !== undefined && LOCAL_ONLY.some((outer) => contains(outer, piece.network!)))
        return true;
      for (let before = 0; before < index && left > 0; before++) {
        left -= 1 + prepared[before]!.networks.length;
        if (!takes(prepared[before]!, piece)) continue;
        by.add(before);
        return true;
      }
      return false;
    });
    if (left <= 0) break;
    if (taken) found.push({ index, by: [...by].toSorted((a, b) => a - b) });
  }
  return found;
}

function piecesOf({ rule, networks }: Prepared): Piece[] {
  const ports = rule.ports.length === 0 ? [undefined] : rule.ports;
  return (networks.length === 0 ? [undefined] : networks).flatMap((network) =>
    ports.map((range) => ({ rule, network, ports: range })),
  );
}

const EVERYTHING = ['0.0.0.0/0', '::/0'];

function takes({ rule, networks }: Prepared, piece: Piece): boolean {
  const later = piece.rule;
  if (networks.length > 0) {
    const { network } = piece;
    if (network !== undefined && !networks.some((outer) => contains(outer, network))) return false;
    if (network === undefined && !EVERYTHING.every((all) => rule.to.includes(all))) return false;
  }
  if (rule.ports.length > 0) {
    const { first, last } = piece.ports ?? { first: 0, last: 65_535 };
    if (!rule.ports.some((range) => range.first <= first && last <= range.last)) return false;
  }
  if (rule.protocol !== undefined && rule.protocol !== later.protocol) return false;
  return (
    covers(rule.names, later.names, nameCovers) &&
    covers(rule.uid, later.uid, same) &&
    covers(rule.gid, later.gid, same) &&
    covers(rule.process, later.process, same) &&
    covers(rule.container, later.container, (outer, inner) => inner.startsWith(outer)) &&
    covers(rule.cgroup, later.cgroup, (outer, inner) => isWithin(inner, outer))
  );
}

/** True when whatever has one of `inner` has one of `outer`; none of them asks nothing. */
function covers<T>(outer: readonly T[], inner: readonly T[], covering: (a: T, b: T) => boolean): boolean {
  if (outer.length === 0) return true;
  return inner.length > 0 && inner.every((each) => outer.some((other) => covering(other, each)));
}

const same = <T>(a: T, b: T): boolean => a === b;

function nameCovers(outer: string, inner: string): boolean {
  if (outer === inner) return true;
  const wide = parseNamePattern(outer);
  const narrow = parseNamePattern(inner);
  if (narrow.kind === 'exact') return nameMatches(wide, narrow.name);
  if (narrow.kind !== 'suffix' || wide.kind !== 'suffix') return false;
  return narrow.name === wide.name || narrow.name.endsWith(`.${wide.name}`);
}
