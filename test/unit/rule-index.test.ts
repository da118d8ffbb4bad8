/** The index of rules against trying one after the other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { canonicalAddress, parseCidr } from '../../src/core/cidr.ts';
import type { Owner } from '../../src/core/owner.ts';
import { addressWords } from '../../src/policy/address-words.ts';
import { testsOf } from '../../src/policy/match.ts';
import type { Facts } from '../../src/policy/match.ts';
import { indexedMatcher } from '../../src/policy/rule-index.ts';
import type { Rule } from '../../src/policy/rule.ts';

/** The first rule all of whose conditions hold, by the definition. */
function oracle(rules: readonly Rule[], facts: Facts): number {
  return rules.findIndex((rule) => testsOf(rule).every(([, holds]) => holds(facts) === true));
}

// Few values of each kind, so that conditions often hold and rules often overlap.
const byte = fc.constantFrom(0, 1, 2, 128, 255);
const address4 = fc.tuple(fc.constantFrom(10, 11), byte, byte, byte).map((bytes) => bytes.join('.'));
const group = fc.constantFrom('0', '1', '8000', 'ffff');
const address6 = fc
  .tuple(fc.constantFrom('fd00', 'fd80'), group, group, group, group, group, group, group)
  .map((groups) => canonicalAddress(groups.join(':'), 6));
const cidr = fc
  .oneof(fc.tuple(address4, fc.nat(32)), fc.tuple(address6, fc.nat(128)))
  .map(([address, prefix]) => parseCidr(`${address}/${prefix}`)!.network);
const port = fc.constantFrom(1, 22, 80, 443, 8080, 65_535);
const range = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const label = fc.constantFrom('a', 'b', 'ab', 'corp');
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const pattern = fc.oneof(
  name,
  name.map((each) => `*.${each}`),
  name.map((each) => `${each}*`),
  name.map((each) => `A*.${each}`),
  fc.constantFrom('/a.*/', '/(a|b)\\.corp/', '/.*/'),
);
const id = fc.nat(3);
const word = fc.constantFrom('curl', 'node');
const some = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.oneof({ weight: 2, arbitrary: fc.constant<T[]>([]) }, fc.array(item, { maxLength: 5 }));
const rule: fc.Arbitrary<Rule> = fc.record({
  to: some(cidr),
  ports: some(range),
  protocol: fc.constantFrom(undefined, undefined, 'tcp', 'udp'),
  names: some(pattern),
  uid: some(id),
  gid: some(id),
  process: some(word),
  container: some(fc.constantFrom('0123456789ab', 'ffffffffffff')),
  cgroup: some(fc.constantFrom('/a', '/a/b', '/')),
  via: fc.constant({ kind: 'drop' as const }),
  where: fc.constant('f:1'),
});
const maybe = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(item, { nil: undefined, freq: 4 });
const owner: fc.Arbitrary<Owner> = fc.record({
  uid: maybe(id),
  gid: maybe(id),
  process: maybe(fc.array(word, { maxLength: 2 })),
  container: maybe(fc.constantFrom('0123456789abcd', 'eeeeeeeeeeeeee')),
  cgroup: maybe(fc.constantFrom('/', '/a', '/a/b/c', '/b')),
});
const facts: fc.Arbitrary<Facts> = fc
  .record({
    address: fc.oneof(address4, address6),
    port,
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    names: some(name),
    owner: maybe(owner),
  })
  .map((each) => ({
    tuple: {
      protocol: each.protocol,
      family: each.address.includes(':') ? 6 : 4,
      source: { address: '10.0.0.1', port: 1 },
      destination: { address: each.address, port: each.port },
    },
    words: addressWords(each.address),
    names: each.names,
    owner: each.owner,
  }));

test('the index finds what trying one rule after the other finds', () => {
  let matched = 0;
  let later = 0;
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 60, size: 'max' }),
      fc.array(facts, { minLength: 20, maxLength: 40 }),
      (rules, flows) => {
        const index = indexedMatcher(rules);
        for (const each of flows) {
          const expected = oracle(rules, each);
          assert.equal(index.first(each), expected);
          if (expected >= 0) matched++;
          if (expected > 8) later++;
        }
      },
    ),
    { numRuns: 400 },
  );
  // Or nothing was shown.
  assert.ok(matched > 1000 && later > 50, `${matched} matched, ${later} of them beyond the eighth`);
});

test('addresses as numbers have the bits of their text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const view = new DataView(bytes.buffer);
      const words = [0, 4, 8, 12].map((at) => view.getInt32(at));
      const groups = Array.from({ length: 8 }, (_, at) => view.getUint16(2 * at).toString(16));
      assert.deepEqual([...addressWords(canonicalAddress(groups.join(':'), 6))], words);
      assert.deepEqual([...addressWords(bytes.subarray(0, 4).join('.'))], words.slice(0, 1));
    }),
  );
  assert.deepEqual([...addressWords('::ffff:1.2.3.4')], [0, 0, 0xffff, 0x01020304]);
});

test('an owner is not looked up where a rule before wins without', () => {
  const base = { to: [], ports: [], protocol: undefined, names: [], gid: [], process: [] };
  const more = { container: [], cgroup: [], via: { kind: 'drop' as const }, where: '' };
  const rules: Rule[] = [
    { ...base, ...more, to: ['10.0.0.0/8'], uid: [] },
    ...Array.from({ length: 100 }, (_, uid) => ({ ...base, ...more, uid: [uid] })),
  ];
  let asked = 0;
  const flow = (address: string): Facts => ({
    tuple: {
      protocol: 'tcp',
      family: 4,
      source: { address: '10.0.0.1', port: 1 },
      destination: { address, port: 1 },
    },
    words: addressWords(address),
    names: [],
    get owner() {
      asked++;
      return { uid: 50 };
    },
  });
  const index = indexedMatcher(rules);
  assert.deepEqual([index.first(flow('10.1.1.1')), asked], [0, 0]);
  assert.equal(index.first(flow('11.1.1.1')), 51);
});
