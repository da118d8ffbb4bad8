/** docs/tcp.md names packet scripts, docs/limits.md constants and counters: all of them exist, with those values. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import * as limits from '../../src/core/limits.ts';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const all = (pattern: string): string =>
  globSync(pattern, { cwd: root })
    .map((path) => read(path))
    .join('\n');

test('every script that docs/tcp.md names is there', () => {
  const scripts = new Set(
    [...all('test/native/core/*.cc').matchAll(/TEST_CASE\("(.+?)"\)/g)].map(([, name]) => name),
  );
  const rows = read('docs/tcp.md')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| what'));
  assert.ok(rows.length > 20);
  for (const row of rows) {
    const names = [...row.matchAll(/"(.+?)"/g)].map(([, name]) => name);
    assert.ok(names.length > 0, row);
    assert.deepEqual(
      names.filter((name) => !scripts.has(name)),
      [],
    );
  }
});

/** Constants of native/constants.h: numbers, products and names of earlier ones. */
function nativeConstants(): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, name = '', text = ''] of read('native/constants.h').matchAll(
    /inline constexpr \w+ (k\w+) = ([^;]+);/g,
  )) {
    const factors = text.replaceAll("'", '').split(' * ');
    found.set(
      name,
      factors.reduce((product, factor) => product * (found.get(factor) ?? Number(factor)), 1),
    );
  }
  return found;
}

test('every row of docs/limits.md has the value of its constant and a counter that exists', () => {
  const native = nativeConstants();
  const own = new Map<string, unknown>(Object.entries(limits));
  const sources = all('{src,native}/**/*.{ts,cc}');
  const rows = [
    ...read('docs/limits.md').matchAll(/^\| (.+?) \| (\d+) \| `(\w+)` \| (.+?) \| ?(.*?) ?\|$/gm),
  ];
  assert.ok(rows.length > 20);
  for (const [, what, value, constant = '', , counter = ''] of rows) {
    assert.equal(Number(value), native.get(constant) ?? own.get(constant), `${what}: ${constant}`);
    const name = /^`(\w+)`/.exec(counter)?.[1];
    if (counter !== '') assert.ok(name !== undefined && sources.includes(name), `${what}: ${counter}`);
  }
  const lines = read('docs/limits.md')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| what'));
  assert.equal(rows.length, lines.length, 'a row is not understood');
});

/** Those of which the word that they bound says all to whoever writes it, or which change nothing that is seen. */
const UNSEEN: readonly string[] = [
  // Words of a configuration, whose errors name the bound.
  'NAME_PATTERN_MAX',
  'RULE_REPETITIONS_MAX',
  'WATCH_LINKS_MAX',
  // How an index is cut, and a line of the log.
  'RULES_TRIED_MAX',
  'KEEPER_STEPS_TOLD_MAX',
];

test('docs/limits.md has every number of things that is bounded in src/core', () => {
  const documented = new Set([...read('docs/limits.md').matchAll(/\| `(\w+)` \|/g)].map((match) => match[1]));
  const counted = Object.keys(limits).filter((name) => name.endsWith('_MAX'));
  assert.ok(counted.length > 40);
  assert.deepEqual(
    counted.filter((name) => !documented.has(name) && !UNSEEN.includes(name)),
    [],
    'a row for each, with what happens beyond it',
  );
  assert.deepEqual(
    UNSEEN.filter((name) => documented.has(name) || !counted.includes(name)),
    [],
    'listed here for nothing',
  );
});
