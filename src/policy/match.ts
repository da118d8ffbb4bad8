/** Whether a rule's conditions hold of a flow. */
import type { FlowTuple } from '../core/flow.ts';
import type { Owner } from '../core/owner.ts';
import { addressWords, networkOf, samePrefix } from './address-words.ts';
import { parseNamePattern } from './name-pattern.ts';
import type { NamePattern } from './name-pattern.ts';
import type { PortRange, Rule } from './rule.ts';

/** What rules ask of a flow. Reading `name` and `owner` may look them up. */
export interface Facts {
  readonly tuple: FlowTuple;
  readonly name: string | undefined;
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

/** The conditions that `rule` has, the cheap ones first; all must hold. */
export function testsOf(rule: Rule): readonly (readonly [Condition, Test])[] {
  const tests: (readonly [Condition, Test])[] = [];
  const add = (condition: Condition, items: readonly unknown[], test: () => Test): void => {
    if (items.length > 0) tests.push([condition, test()]);
  };
  const { protocol } = rule;
  if (protocol !== undefined) tests.push(['protocol', ({ tuple }) => tuple.protocol === protocol]);
  add('ports', rule.ports, () => portsTest(rule.ports));
  add('to', rule.to, () => networksTest(rule.to));
  add('names', rule.names, () => {
    const patterns = rule.names.map(parseNamePattern);
    return ({ name }) => (name === undefined ? undefined : patterns.some((each) => nameMatches(each, name)));
  });
  const owner = <T>(get: (owner: Owner) => T | undefined, test: (value: T) => boolean): (() => Test) => {
    return () => (facts) => {
      const value = facts.owner === undefined ? undefined : get(facts.owner);
      return value === undefined ? undefined : test(value);
    };
  };
  add(
    'uid',
    rule.uid,
    owner(
      ({ uid }) => uid,
      (uid) => rule.uid.includes(uid),
    ),
  );
  add(
    'gid',
    rule.gid,
    owner(
      ({ gid }) => gid,
      (gid) => rule.gid.includes(gid),
    ),
  );
  add(
    'process',
    rule.process,
    owner(
      ({ process }) => process,
      (all) => all.some((each) => rule.process.includes(each)),
    ),
  );
  add(
    'container',
    rule.container,
    owner(
      ({ container }) => container,
      (id) => rule.container.some((each) => id.startsWith(each)),
    ),
  );
  add(
    'cgroup',
    rule.cgroup,
    owner(
      ({ cgroup }) => cgroup,
      (path) => rule.cgroup.some((each) => isWithin(path, each)),
    ),
  );
  return tests;
}

function portsTest(ports: readonly PortRange[]): Test {
  return ({ tuple }) => {
    const { port } = tuple.destination;
    return ports.some(({ first, last }) => first <= port && port <= last);
  };
}

function networksTest(to: readonly string[]): Test {
  const networks = to.map(networkOf);
  return ({ tuple }) => {
    const words = addressWords(tuple.destination.address);
    return networks.some(
      (network) => network.words.length === words.length && samePrefix(network.words, words, network.prefix),
    );
  };
}

/** `name` is in lower case, without the closing dot. */
export function nameMatches(pattern: NamePattern, name: string): boolean {
  if (pattern.kind === 'exact') return pattern.name === name;
  if (pattern.kind === 'suffix') return name.endsWith(`.${pattern.name}`);
  return pattern.test(name);
}

function isWithin(path: string, group: string): boolean {
  return path === group || path.startsWith(group === '/' ? '/' : `${group}/`);
}

export interface Matcher {
  /** Index of the first rule that matches, or -1. */
  first(facts: Facts): number;
}

/** Tries one rule after the other. */
export function linearMatcher(rules: readonly Rule[]): Matcher {
  const all = rules.map(testsOf);
  return {
    first: (facts) => all.findIndex((tests) => tests.every(([, test]) => test(facts) === true)),
  };
}
