/** Whether a rule's conditions hold of a flow. */
import type { FlowTuple } from '../core/flow.ts';
import type { Owner } from '../core/owner.ts';
import type { Words } from './address-words.ts';
import { networkOf, samePrefix } from './address-words.ts';
import { parseNamePattern } from './name-pattern.ts';
import type { NamePattern } from './name-pattern.ts';
import type { PortRange, Rule } from './rule.ts';

/** What rules ask of a flow. Reading `names` and `owner` may look them up, and so a test reads no more than it needs. */
export interface Facts {
  readonly tuple: FlowTuple;
  /** The bits of the destination, as `addressWords` gives them. */
  readonly words: Words;
  /** Those of the destination's address, the latest first; any of them will do. */
  readonly names: readonly string[];
  readonly owner: Owner | undefined;
}

/** One condition of a rule. */
export type Condition =
  | 'protocol'
  | 'to'
  | 'ports'
  | 'names'
  | 'uid'
  | 'gid'
  | 'process'
  | 'container'
  | 'cgroup';

/** Undefined: what it asks for is not known of the flow. */
export type Test = (facts: Facts) => boolean | undefined;

/** The conditions that `rule` has, except those in `but`, the cheap ones first; all must hold. */
export function testsOf(rule: Rule, but: readonly Condition[] = []): readonly (readonly [Condition, Test])[] {
  const tests: Readonly<Record<Condition, () => Test>> = {
    protocol:
      () =>
      ({ tuple }) =>
        tuple.protocol === rule.protocol,
    ports: () => portsTest(rule.ports),
    to: () => networksTest(rule.to),
    names: () => namesTest(rule.names),
    uid: () => ownerTest('uid', (uid) => rule.uid.includes(uid)),
    gid: () => ownerTest('gid', (gid) => rule.gid.includes(gid)),
    process: () => ownerTest('process', (names) => names.some((each) => rule.process.includes(each))),
    container: () => ownerTest('container', (id) => rule.container.some((each) => id.startsWith(each))),
    cgroup: () => ownerTest('cgroup', (path) => rule.cgroup.some((each) => isWithin(path, each))),
  };
  return (Object.keys(tests) as Condition[])
    .filter((each) => !but.includes(each) && (rule[each]?.length ?? 0) > 0)
    .map((each) => [each, tests[each]()]);
}

function ownerTest<K extends keyof Owner>(key: K, test: (value: NonNullable<Owner[K]>) => boolean): Test {
  return ({ owner }) => {
    const value = owner?.[key];
    return value === undefined || value === null ? undefined : test(value);
  };
}

function namesTest(names: readonly string[]): Test {
  const patterns = names.map(parseNamePattern);
  return ({ names: known }) =>
    known.length === 0 ? undefined : firstMatching(patterns, known) !== undefined;
}

function portsTest(ports: readonly PortRange[]): Test {
  return ({ tuple }) => {
    const { port } = tuple.destination;
    return ports.some(({ first, last }) => first <= port && port <= last);
  };
}

function networksTest(to: readonly string[]): Test {
  const networks = to.map(networkOf);
  return ({ words }) =>
    networks.some(
      (network) => network.words.length === words.length && samePrefix(network.words, words, network.prefix),
    );
}

/** The first of the names that one of the patterns means. */
export function firstMatching(
  patterns: readonly NamePattern[],
  names: readonly string[],
): string | undefined {
  return names.find((name) => patterns.some((each) => nameMatches(each, name)));
}

/** `name` is in lower case, without the closing dot. */
export function nameMatches(pattern: NamePattern, name: string): boolean {
  if (pattern.kind === 'exact') return pattern.name === name;
  if (pattern.kind === 'suffix') return name.endsWith(`.${pattern.name}`);
  return pattern.test(name);
}

/** True for the control group `group`, and for those below it. */
export function isWithin(path: string, group: string): boolean {
  return path === group || path.startsWith(group === '/' ? '/' : `${group}/`);
}

export interface Matcher {
  /** Index of the first rule that matches, or -1. */
  first(facts: Facts): number;
}
