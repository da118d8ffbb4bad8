/** What is told of rules beside their verdicts: why, which never match, and what the kernel does of them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { addressWords } from '../../src/policy/address-words.ts';
import { explain } from '../../src/policy/explain.ts';
import type { Question } from '../../src/policy/explain.ts';
import { kernelRules } from '../../src/policy/kernel.ts';
import { indexedMatcher } from '../../src/policy/rule-index.ts';
import { parseVia } from '../../src/policy/rule.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { shadowedRules } from '../../src/policy/shadow.ts';

type Given = Partial<Omit<Rule, 'via'>> & { readonly via?: string };

function rulesOf(...given: readonly Given[]): Rule[] {
  return given.map((each, index) => ({
    ...{ to: [], ports: [], protocol: undefined, names: [], uid: [], gid: [], process: [] },
    ...{ container: [], cgroup: [], where: `f:${index}` },
    ...each,
    via: parseVia(each.via ?? 'main')!,
  }));
}

const range = (first: number, last = first): { first: number; last: number } => ({ first, last });

describe('explain', () => {
  const rules = rulesOf(
    { to: ['10.20.0.0/16'], ports: [range(5432)], via: 'main' },
    { names: ['*.corp.example'], via: 'other' },
    { uid: [1000], via: 'direct' },
    { to: ['0.0.0.0/0', '::/0'], via: 'reject' },
    { via: 'drop' },
  );
  const ask = (question: Partial<Question>): ReturnType<typeof explain> =>
    explain(rules, 'last', {
      ...{ protocol: 'tcp', address: undefined, port: 443, name: undefined, owner: undefined },
      ...question,
    });

  test('names the rule that decides, and why those before it do not', () => {
    const { verdict, considered } = ask({ address: '10.20.0.1', name: 'x.test', owner: { uid: 7 } });
    assert.deepEqual(verdict, {
      ...{ kind: 'reject', reason: 'refused', why: 'any address' },
      rule: { text: 'to 0.0.0.0/0 ::/0, via reject', where: 'f:3' },
    });
    assert.deepEqual(
      considered.map(({ matches, because }) => `${matches}: ${because}`),
      ['no: port 443', 'no: name x.test', 'no: uid 7', 'yes: any address'],
    );
  });

  test('tells what is not known from what does not match', () => {
    const { verdict, considered } = ask({ port: 5432, name: 'a.test' });
    assert.equal(verdict.rule.where, 'f:3');
    assert.deepEqual(
      considered.map(({ matches, because }) => `${matches}: ${because}`),
      ['unknown: address unknown', 'no: name a.test', 'unknown: uid unknown', 'yes: any address'],
    );
  });

  test('knows what is decided on before the rules, and after them', () => {
    assert.equal(ask({ address: '169.254.169.254' }).verdict.rule.where, 'built-in');
    const { verdict, considered } = explain(rules.slice(0, 1), 'last', {
      ...{ protocol: 'tcp', address: '192.0.2.1', port: 1, name: undefined, owner: undefined },
    });
    assert.deepEqual([verdict.kind, verdict.why, considered.length], ['upstream', 'no rule matches', 1]);
  });

  test('what it says of UDP is what becomes of UDP', () => {
    assert.deepEqual(ask({ protocol: 'udp', name: 'a.corp.example', port: 53 }).verdict.kind, 'dns');
    assert.deepEqual(ask({ protocol: 'udp', name: 'a.corp.example', port: 9 }).verdict.kind, 'reject');
  });
});

describe('rules that can never match', () => {
  const shadowed = (...given: Given[]): [number, readonly number[]][] =>
    shadowedRules(rulesOf(...given)).map(({ index, by }) => [index, by]);

  test('are found by each of their conditions', () => {
    assert.deepEqual(shadowed({ to: ['10.0.0.0/8'] }, { to: ['10.1.0.0/16'] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ to: ['10.1.0.0/16'] }, { to: ['10.0.0.0/8'] }), []);
    assert.deepEqual(shadowed({ via: 'drop' }, { uid: [1] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ to: ['0.0.0.0/0', '::/0'] }, { names: ['a.b'] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ to: ['0.0.0.0/0'] }, { names: ['a.b'] }), []);
    assert.deepEqual(shadowed({ ports: [range(1, 9)] }, { ports: [range(2), range(5, 9)] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ ports: [range(1, 9)] }, { ports: [range(9, 10)] }), []);
    assert.deepEqual(shadowed({ protocol: 'udp' }, { protocol: 'udp', to: ['::1/128'] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ protocol: 'udp' }, {}), []);
    assert.deepEqual(shadowed({ names: ['*.b'] }, { names: ['a.b', '*.c.b'] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ names: ['*.b'] }, { names: ['b'] }), []);
    assert.deepEqual(shadowed({ names: ['/a.*/'] }, { names: ['a.b'] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ names: ['a*.b'] }, { names: ['*.b'] }), []);
    assert.deepEqual(shadowed({ uid: [1, 2] }, { uid: [2] }, { uid: [2, 3] }), [[1, [0]]]);
    assert.deepEqual(shadowed({ cgroup: ['/a'] }, { cgroup: ['/a/b'] }), [[1, [0]]]);
  });

  test('are found when several rules take their parts', () => {
    assert.deepEqual(
      shadowed({ to: ['10.0.0.0/8'] }, { to: ['11.0.0.0/8'] }, { to: ['10.1.0.0/16', '11.1.0.0/16'] }),
      [[2, [0, 1]]],
    );
    assert.deepEqual(shadowed({ to: ['10.0.0.0/8'] }, { to: ['10.1.0.0/16', '12.0.0.0/8'] }), []);
  });

  test('are found when nothing that they ask for ever leaves', () => {
    assert.deepEqual(shadowed({ to: ['169.254.1.0/24', 'fe80::/64'] }), [[0, []]]);
  });

  test('never match indeed', () => {
    const cidr = fc.constantFrom('10.0.0.0/8', '10.1.0.0/16', '10.1.1.0/24', '0.0.0.0/0', '::/0');
    const ports = fc.constantFrom(range(1, 9), range(2), range(5, 20));
    const some = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 2 });
    const given = fc.record({
      to: some(cidr),
      ports: some(ports),
      names: some(fc.constantFrom('a.b', '*.b', '*.a.b', '/.*/')),
      uid: some(fc.nat(2)),
      protocol: fc.constantFrom(undefined, 'tcp' as const, 'udp' as const),
    });
    let found = 0;
    fc.assert(
      fc.property(fc.array(given, { minLength: 2, maxLength: 12 }), (all) => {
        const rules = rulesOf(...all);
        const never = new Set(shadowedRules(rules).map(({ index }) => index));
        found += never.size;
        const index = indexedMatcher(rules);
        for (const address of ['10.1.1.1', '10.1.2.1', '10.2.0.1', '11.0.0.1', '::1'])
          for (const port of [1, 2, 5, 15, 30])
            for (const names of [[], ['a.b'], ['x.b'], ['x.a.b'], ['c'], ['c', 'x.b']])
              for (const uid of [0, 1, 2])
                for (const protocol of ['tcp', 'udp'] as const) {
                  const first = index.first({
                    tuple: {
                      ...{ protocol, family: address.includes(':') ? 6 : 4 },
                      source: { address, port: 1 },
                      destination: { address, port },
                    },
                    ...{ words: addressWords(address), names, owner: { uid } },
                  });
                  assert.ok(!never.has(first), `rule ${first} matched`);
                }
      }),
      { numRuns: 60 },
    );
    assert.ok(found > 20, `${found} were found`);
  });
});

describe('what the kernel does of rules', () => {
  const direct = (...given: Given[]): readonly string[] => kernelRules(rulesOf(...given)).direct;
  const captured = (...given: Given[]): unknown => kernelRules(rulesOf(...given)).captured;

  test('is to route networks that are direct whatever the port, where no rule before speaks of them', () => {
    assert.deepEqual(direct({ to: ['10.0.0.0/8', 'fd00::/8'], via: 'direct' }), ['10.0.0.0/8', 'fd00::/8']);
    assert.deepEqual(direct({ to: ['10.1.0.0/16'] }, { to: ['10.0.0.0/8', '11.0.0.0/8'], via: 'direct' }), [
      '11.0.0.0/8',
    ]);
    assert.deepEqual(direct({ names: ['a.b'] }, { to: ['10.0.0.0/8'], via: 'direct' }), []);
    assert.deepEqual(direct({ to: ['10.0.0.0/8'], ports: [range(22)], via: 'direct' }), []);
    assert.deepEqual(direct({ to: ['10.0.0.0/8'], uid: [1], via: 'direct' }), []);
    assert.deepEqual(direct({ to: ['0.0.0.0/0', '::/0'], via: 'direct' }), []);
    assert.deepEqual(direct({ to: ['10.0.0.0/8'], via: 'direct' }, { to: ['10.1.0.0/16'] }), ['10.0.0.0/8']);
  });

  test('is to capture what rules send elsewhere, unless a rule before has all of it direct', () => {
    assert.deepEqual(captured({ to: ['10.0.0.5/32'], ports: [range(1, 2)], protocol: 'tcp' }), [
      { cidr: '10.0.0.5/32', ports: [1, 2], protocol: 'tcp' },
    ]);
    assert.deepEqual(captured({ to: ['10.0.0.5/32'], via: 'reject' }), [{ cidr: '10.0.0.5/32' }]);
    assert.deepEqual(captured({ to: ['10.0.0.0/8'], via: 'direct' }, { to: ['10.1.0.0/16'] }), []);
    assert.deepEqual(captured({ uid: [1], via: 'direct' }, { to: ['10.1.0.0/16'] }), [
      { cidr: '10.1.0.0/16' },
    ]);
    assert.deepEqual(captured({ to: ['10.1.1.0/24'], via: 'direct' }, { to: ['10.1.0.0/16'] }), [
      { cidr: '10.1.0.0/16' },
    ]);
    assert.deepEqual(captured({ to: ['10.1.0.0/16'], uid: [1] }), []);
  });
});
