/** Addresses that stand for names: none for two names within a day, and the same ones after a restart. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { DNS_FAKE_REUSE_MS } from '../../src/core/limits.ts';
import { FakeAddresses } from '../../src/dns/fake.ts';
import { fakeNames } from '../../src/policy/fake-names.ts';
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

test('the first rule that asks for names and matches says whether an address is fake', () => {
  const rule = (names: string[], resolve: Rule['resolve']): Rule => ({
    ...{
      to: [],
      ports: [],
      protocol: undefined,
      names,
      uid: [],
      gid: [],
      process: [],
      container: [],
      cgroup: [],
    },
    ...{ via: { kind: 'upstream', upstream: 'a' }, resolve, where: '' },
  });
  const fake = fakeNames([
    rule([], 'real'),
    rule(['real.x.test'], 'real'),
    rule(['*.x.test', '/y[0-9]/'], 'fake'),
    rule(['z.test'], 'real'),
  ]);
  const faked = ['a.x.test', 'real.x.test', 'x.test', 'y1', 'z.test'].filter(fake);
  assert.deepEqual(faked, ['a.x.test', 'y1']);
});
