/** What a decision among many rules costs. */
import { rulesPolicy } from '../src/policy/policy.ts';
import type { FlowFacts, Policy } from '../src/policy/policy.ts';
import type { Rule } from '../src/policy/rule.ts';

/** Rules of each kind of table, and the flows that each table is asked about. */
interface Case {
  readonly what: string;
  readonly rules: readonly Rule[];
  readonly flows: readonly FlowFacts[];
}

export interface RuleCost {
  readonly what: string;
  readonly rules: number;
  /** Microseconds of one decision. */
  readonly us: number;
}

const ROUNDS = 20;
const LOOKUPS = 50_000;

/** Always the same numbers, so that two runs measure the same. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

const NONE = { to: [], ports: [], protocol: undefined, names: [], uid: [], gid: [], process: [] };
const rule = (index: number, given: Partial<Rule>): Rule => ({
  ...{ ...NONE, container: [], cgroup: [], via: { kind: 'upstream', upstream: 'b' } },
  ...{ where: `rules.yaml:${index + 1}`, ...given },
});

function flow(address: string, port: number, more: Partial<FlowFacts> = {}): FlowFacts {
  const family = address.includes(':') ? 6 : 4;
  const source = { address: family === 4 ? '10.255.0.1' : 'fd00::1', port: 40_000 };
  return { protocol: 'tcp', family, source, destination: { address, port }, ...more };
}

/** Tables of `count` rules. Half of the flows match one of them, anywhere; half match none. */
export function cases(count: number): readonly Case[] {
  const random = generator(7);
  const indexes = Array.from({ length: count }, (_, index) => index);
  const net4 = (index: number): string => `10.${index >> 8}.${index & 255}`;
  const net6 = (index: number): string => `2001:db8:${index.toString(16)}:`;
  const flows = (of: (index: number) => FlowFacts): FlowFacts[] =>
    Array.from({ length: 1000 }, (_, at) => of(random(count) + (at % 2) * count));
  const one = (index: number): { first: number; last: number } => ({
    first: 1 + (index % 65_000),
    last: 1 + (index % 65_000),
  });
  return [
    {
      what: 'IPv4 networks with ports',
      rules: indexes.map((index) => rule(index, { to: [`${net4(index)}.0/24`], ports: [one(443)] })),
      flows: flows((index) => flow(`${net4(index)}.9`, 444)),
    },
    {
      what: 'IPv6 networks',
      rules: indexes.map((index) => rule(index, { to: [`${net6(index)}:/48`] })),
      flows: flows((index) => flow(`${net6(index)}:9`, 443)),
    },
    {
      what: 'one network, a port each',
      rules: indexes.map((index) => rule(index, { to: ['10.0.0.0/8'], ports: [one(index)] })),
      flows: flows((index) => flow('10.1.2.3', one(index).first)),
    },
    {
      what: 'names, exact and suffixes',
      rules: indexes.map((index) =>
        rule(index, { names: [`${index % 2 ? '*.' : ''}n${index}.corp.example`] }),
      ),
      flows: flows((index) =>
        flow('192.0.2.1', 443, { name: `${index % 2 ? 'a.' : ''}n${index}.corp.example` }),
      ),
    },
    {
      what: 'users',
      rules: indexes.map((index) => rule(index, { uid: [index] })),
      flows: flows((index) => flow('192.0.2.1', 443, { owner: { uid: index } })),
    },
    {
      what: 'all of these together',
      rules: indexes.map((index) =>
        rule(
          index,
          [
            { to: [`${net4(index)}.0/24`], ports: [one(443)] },
            { to: [`${net6(index)}:/48`] },
            { names: [`*.n${index}.corp.example`] },
            { to: ['10.0.0.0/8'], ports: [{ first: 30_000 + index, last: 30_010 + index }] },
            { uid: [index], ports: [one(index)] },
          ][index % 5]!,
        ),
      ),
      flows: flows((index) =>
        flow(index % 5 === 1 ? `${net6(index)}:9` : `${net4(index)}.9`, 444, {
          name: `a.n${index}.corp.example`,
          owner: { uid: index },
        }),
      ),
    },
  ];
}

/** Microseconds of the processor for one decision. What else the machine does only adds: the best round counts. */
function cost(policy: Policy, flows: readonly FlowFacts[]): number {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage().user;
    for (let at = 0; at < LOOKUPS; at++) policy.decide(flows[at % flows.length]!);
    best = Math.min(best, process.cpuUsage().user - before);
  }
  return best / LOOKUPS;
}

/** Measures every kind of table with `count` rules. */
export function ruleCosts(count: number): RuleCost[] {
  return cases(count).map(({ what, rules, flows }) => {
    return { what, rules: count, us: cost(rulesPolicy(rules, 'last'), flows) };
  });
}

if (import.meta.main) {
  for (const { what, rules, us } of [10, 10_000].flatMap(ruleCosts))
    process.stdout.write(`${String(rules).padStart(6)} rules, ${what}: ${us.toFixed(2)} us\n`);
}
