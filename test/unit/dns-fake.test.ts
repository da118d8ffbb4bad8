/** Addresses that stand for names: none for two names within a day, and the same ones after a restart. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { DNS_FAKE_REUSE_MS } from '../../src/core/limits.ts';
import { FakeAddresses } from '../../src/dns/fake.ts';
import { namedRules } from '../../src/policy/named-rules.ts';
import type { Rule } from '../../src/policy/rule.ts';

const directory = mkdtempSync(join(tmpdir(), 'netproxy-fake-'));
after(() => rmSync(directory, { recursive: true }));

let now = 1_700_000_000_000;
const warnings: string[] = [];
const log = {
  debug() {},
  info() {},
  warn: (_: object, text: string) => void warnings.push(text),
  error() {},
};

function make(file?: string, range4 = '198.19.0.0/28'): FakeAddresses {
  return new FakeAddresses({ range4, range6: 'fd6e:7072:0:1::/112', file, log, now: () => now });
}

test('each name has an address of its own, and each address its name', () => {
  const fakes = make();
  const names = Array.from({ length: 14 }, (_, i) => `${i}.test`);
  const found = names.map((name) => fakes.addressesOf(name)!);
  assert.equal(new Set(found.map((each) => each[4])).size, 14);
  for (const [index, each] of found.entries()) {
    assert.equal(fakes.nameOf(each[4]), names[index]);
    assert.equal(fakes.nameOf(each[6]), names[index]);
    assert.ok(fakes.isFake(each[4]) && fakes.isFake(each[6]));
    assert.doesNotMatch(each[4], /\.(0|15)$/);
  }
  for (const other of ['198.19.0.16', '198.18.0.1', '::1', 'fd6e:7072::1', 'name'])
    assert.ok(!fakes.isFake(other));
});

test('when all are taken a new name gets that of the one used longest ago, but not within a day', () => {
  const fakes = make();
  for (let i = 0; i < 14; i++) fakes.addressesOf(`${i}.test`);
  now += DNS_FAKE_REUSE_MS - 1;
  assert.equal(fakes.addressesOf('new.test'), undefined);
  const used = fakes.addressesOf('0.test')![4];
  now += 1;
  const given = fakes.addressesOf('new.test')![4];
  assert.notEqual(given, used);
  assert.equal(fakes.nameOf(given), 'new.test');
  assert.equal(fakes.nameOf(used), '0.test');
});

test('names and their times are kept in the file', async () => {
  const file = join(directory, 'kept.json');
  const first = make(file);
  const before = first.addressesOf('a.test')!;
  await first.close();
  const second = make(file);
  assert.deepEqual(second.addressesOf('a.test'), before);
  assert.equal(second.nameOf(before[6]), 'a.test');
  await second.close();
  const other = make(file, '198.19.1.0/28');
  assert.equal(other.size, 0, 'of another network they mean nothing');
});

test('any file is read without a throw, and none makes an address stand for two names', () => {
  const file = join(directory, 'any.json');
  const good = JSON.parse(readFileSync(join(directory, 'kept.json'), 'utf8')) as object;
  const entry = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: -2, max: 20 }), fc.double());
  const contents = fc.oneof(
    fc.string(),
    fc.json(),
    fc.array(fc.oneof(entry, fc.jsonValue())).map((names) => JSON.stringify({ ...good, names })),
  );
  fc.assert(
    fc.property(contents, (text) => {
      writeFileSync(file, text);
      const fakes = make(file);
      const found = ['a', 'b', 'c', 'd'].map((name) => fakes.addressesOf(name)![4]);
      assert.equal(new Set(found).size, 4);
    }),
  );
});

test('a file that cannot be written is told once', async () => {
  warnings.length = 0;
  const fakes = make(join(directory, 'missing', 'file.json'));
  for (let i = 0; i < 2; i++) {
    fakes.addressesOf('a.test');
    await fakes.close();
  }
  assert.equal(warnings.length, 1);
});

const rule = (names: string[], more: Partial<Rule>): Rule => ({
  ...{ to: [], ports: [], protocol: undefined, names, uid: [], gid: [], process: [] },
  ...{ container: [], cgroup: [], via: { kind: 'upstream', upstream: 'a' }, where: '' },
  ...more,
});
const to = (upstream: string): Partial<Rule> => ({ via: { kind: 'upstream', upstream } });

test('the first rule that asks for names and matches says whether an address is fake', () => {
  const rules = namedRules(
    [
      rule([], { to: ['10.0.0.0/8'] }),
      rule(['real.x.test'], { resolve: 'real' }),
      rule(['*.x.test', '/y[0-9]/'], { resolve: 'fake' }),
      rule(['z.test'], {}),
      rule([], {}),
      rule(['late.test'], { resolve: 'fake' }),
    ],
    'last',
  );
  const faked = ['a.x.test', 'real.x.test', 'x.test', 'y1', 'z.test', 'late.test'].filter((name) =>
    rules.isFaked(name),
  );
  assert.deepEqual(faked, ['a.x.test', 'y1']);
});

test('a name belongs to the bastion that the first rule on it names, whatever else the rule asks', () => {
  const rules = [
    rule([], { ports: [{ first: 25, last: 25 }], ...to('mail') }),
    rule(['direct.b.test'], { via: { kind: 'direct' } }),
    rule(['*.b.test'], { uid: [7], ...to('b') }),
    rule(['r.test'], { via: { kind: 'relay', upstream: 'c' }, protocol: 'udp' }),
    rule(['r0.test'], { via: { kind: 'relay', upstream: undefined } }),
    rule([], { protocol: 'udp', via: { kind: 'relay', upstream: 'c' } }),
  ];
  const expected = {
    'x.b.test': 'b',
    'direct.b.test': 'last',
    'r.test': 'c',
    'r0.test': 'last',
    'other.test': 'last',
  };
  const found = (of: readonly Rule[]): Record<string, string> => {
    const named = namedRules(of, 'last');
    return Object.fromEntries(Object.keys(expected).map((name) => [name, named.upstreamOf(name)]));
  };
  assert.deepEqual(found(rules), expected);
  for (const all of [
    rule([], to('all')),
    rule([], { to: ['0.0.0.0/0', '::/0'], protocol: 'tcp', ...to('all') }),
  ])
    assert.deepEqual(found([...rules, all]), { ...expected, 'other.test': 'all' });
});
