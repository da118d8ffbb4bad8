/**
 * Finds the first rule that matches without trying them all. Rules are divided by one condition after the
 * other: those that ask for it by what they ask for (a trie of networks, a table of names and their suffixes,
 * a tree of ports, tables of owners), those that do not aside. What remains together, a few rules, is tried.
 *
 * First match wins however rules are divided: every part knows its lowest number, and is passed over once a
 * lower one has matched.
 */
import { RULE_NAMES_REMEMBERED_MAX, RULES_TRIED_MAX } from '../core/limits.ts';
import { networkOf } from './address-words.ts';
import { CidrTrie } from './cidr-trie.ts';
import { testsOf } from './match.ts';
import type { Condition, Facts, Matcher, Test } from './match.ts';
import { parseNamePattern } from './name-pattern.ts';
import type { NamePattern } from './name-pattern.ts';
import { better } from './part.ts';
import type { Part } from './part.ts';
import { PortTree } from './port-tree.ts';
import type { PortRange, Rule } from './rule.ts';

/** Conditions to divide by. Owners come last: to look one up costs more than all the others. */
const DIVISIONS = ['to', 'names', 'ports', 'uid', 'gid', 'process'] as const satisfies readonly Condition[];

/** An index of `rules`. */
export function indexedMatcher(rules: readonly Rule[]): Matcher {
  const whole = new Builder(rules).part(
    rules.map((_, index) => index),
    0,
  );
  return {
    first(facts) {
      const found = whole.find(facts, rules.length);
      return found === rules.length ? -1 : found;
    },
  };
}

class Builder {
  readonly #rules: readonly Rule[];
  /** Of each rule, and by how many divisions are behind it, what is left to test. */
  readonly #tests: (readonly Test[])[][] = [];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  /** `numbers` ascend. The first `divided` divisions hold of all of them already. */
  part(numbers: readonly number[], divided: number): Part {
    const division = DIVISIONS[divided];
    if (division === undefined || this.#isSmall(numbers)) return this.#few(numbers, divided);
    const asking = numbers.filter((number) => this.#rules[number]![division].length > 0);
    if (asking.length === 0) return this.part(numbers, divided + 1);
    const others = numbers.filter((number) => this.#rules[number]![division].length === 0);
    const parts = [this.#by(division, asking, divided + 1)];
    if (others.length > 0) parts.push(this.part(others, divided + 1));
    // Who does not ask for an owner comes first, since then the owner may not matter.
    return either(divided >= DIVISIONS.indexOf('uid') ? parts.toReversed() : parts);
  }

  #by(division: (typeof DIVISIONS)[number], numbers: readonly number[], divided: number): Part {
    const min = numbers[0]!;
    const make = (some: readonly number[]): Part => this.part(some, divided);
    switch (division) {
      case 'to':
        return byNetwork(
          min,
          this.#grouped(numbers, ({ to }) => to, make),
        );
      case 'names':
        return byName(
          min,
          this.#grouped(numbers, ({ names }) => names, make),
        );
      case 'ports': {
        const items = numbers.flatMap((number) =>
          disjoint(this.#rules[number]!.ports).map((range) => [range, number] as const),
        );
        const tree = new PortTree(items, make);
        return { min, find: (facts, best) => tree.find(facts, best) };
      }
      case 'process': {
        const parts = this.#grouped(numbers, (rule) => rule.process, make);
        return {
          min,
          find: (facts, best) =>
            (facts.owner?.process ?? []).reduce((found, each) => better(parts.get(each), facts, found), best),
        };
      }
      default: {
        const parts = this.#grouped(numbers, (rule) => rule[division], make);
        return {
          min,
          find(facts, best) {
            const id = facts.owner?.[division];
            return id === undefined ? best : better(parts.get(id), facts, best);
          },
        };
      }
    }
  }

  #grouped<K>(
    numbers: readonly number[],
    keys: (rule: Rule) => readonly K[],
    make: (numbers: readonly number[]) => Part,
  ): Map<K, Part> {
    const groups = new Map<K, number[]>();
    for (const number of numbers) {
      for (const key of new Set(keys(this.#rules[number]!))) {
        const group = groups.get(key);
        if (group === undefined) groups.set(key, [number]);
        else group.push(number);
      }
    }
    return new Map([...groups].map(([key, group]) => [key, make(group)]));
  }

  #isSmall(numbers: readonly number[]): boolean {
    if (numbers.length > RULES_TRIED_MAX) return false;
    let items = 0;
    for (const number of numbers) {
      for (const division of DIVISIONS) items += this.#rules[number]![division].length;
    }
    return items <= 2 * RULES_TRIED_MAX;
  }

  #few(numbers: readonly number[], divided: number): Part {
    const tests = numbers.map((number) => this.#testsOf(number, divided));
    return {
      min: numbers[0] ?? Number.MAX_SAFE_INTEGER,
      find(facts, best) {
        for (let at = 0; at < numbers.length && numbers[at]! < best; at++)
          if (all(tests[at]!, facts)) return numbers[at]!;
        return best;
      },
    };
  }

  #testsOf(number: number, divided: number): readonly Test[] {
    const done: readonly Condition[] = DIVISIONS.slice(0, divided);
    const known = (this.#tests[number] ??= []);
    return (known[divided] ??= testsOf(this.#rules[number]!, done).map(([, test]) => test));
  }
}

function all(tests: readonly Test[], facts: Facts): boolean {
  for (const test of tests) if (test(facts) !== true) return false;
  return true;
}

function either(parts: readonly Part[]): Part {
  const [first, second] = parts;
  if (second === undefined) return first!;
  return {
    min: Math.min(first!.min, second.min),
    find: (facts, best) => better(second, facts, better(first, facts, best)),
  };
}

function byNetwork(min: number, parts: ReadonlyMap<string, Part>): Part {
  const four = new CidrTrie();
  const six = new CidrTrie();
  for (const [cidr, part] of parts) {
    const { words, prefix } = networkOf(cidr);
    (words.length === 1 ? four : six).set(words, prefix, part);
  }
  return { min, find: (facts, best) => (facts.words.length === 1 ? four : six).find(facts, best) };
}

type Tried = readonly [pattern: NamePattern, part: Part];

function byName(min: number, parts: ReadonlyMap<string, Part>): Part {
  const exact = new Map<string, Part>();
  const suffixes = new Map<string, Part>();
  const tried: Tried[] = [];
  for (const [text, part] of parts) {
    const pattern = parseNamePattern(text);
    if (pattern.kind === 'test') {
      tried.push([pattern, part]);
      continue;
    }
    // Two spellings may be one name.
    const table = pattern.kind === 'exact' ? exact : suffixes;
    const other = table.get(pattern.name);
    table.set(pattern.name, other === undefined ? part : either([other, part]));
  }
  const matching = remembered((name) =>
    tried.flatMap(([pattern, part]) => (pattern.kind === 'test' && pattern.test(name) ? [part] : [])),
  );
  const find = (name: string, facts: Facts, before: number): number => {
    let best = better(exact.get(name), facts, before);
    for (let dot = name.indexOf('.'); dot !== -1 && suffixes.size > 0; dot = name.indexOf('.', dot + 1))
      best = better(suffixes.get(name.slice(dot + 1)), facts, best);
    if (tried.length > 0) for (const part of matching(name)) best = better(part, facts, best);
    return best;
  };
  return {
    min,
    find(facts, before) {
      let best = before;
      for (const name of facts.names) best = find(name, facts, best);
      return best;
    },
  };
}

/** What `find` gave for a name, for the names asked for lately. */
function remembered<T>(find: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>();
  return (name) => {
    let found = known.get(name);
    if (found === undefined) {
      if (known.size >= RULE_NAMES_REMEMBERED_MAX) known.clear();
      found = find(name);
      known.set(name, found);
    }
    return found;
  };
}

/** The same ports, each in one range: a rule stands at a node of the tree but once. */
function disjoint(ranges: readonly PortRange[]): PortRange[] {
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last);
    else joined.push({ first, last });
  }
  return joined;
}
