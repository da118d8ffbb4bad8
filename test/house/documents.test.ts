import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SETTINGS } from '../../src/config/settings.ts';
import { ERRORS } from '../../src/core/errors.ts';
import { DOCUMENTS, withTable } from './documents.ts';
import { repository } from './repository.ts';

const read = (path: string): string => readFileSync(new URL(path, repository), 'utf8');

/** What one list has and the other lacks, both ways. */
function differences(documented: readonly string[], actual: readonly string[]): string[] {
  return [
    ...actual.filter((name) => !documented.includes(name)).map((name) => `${name} is not documented`),
    ...documented
      .filter((name) => !actual.includes(name))
      .map((name) => `${name} is documented and does not exist`),
    ...documented
      .filter((name, index) => documented.indexOf(name) !== index)
      .map((name) => `${name} is there twice`),
  ];
}

const errorCodes = (text: string): string[] =>
  [...text.matchAll(/^### ([A-Z0-9_]+)$/gm)].map((match) => match[1] ?? '');
const settingKeys = (text: string): string[] =>
  [...text.matchAll(/^#### `([^`\s]+)/gm)].map((match) => match[1] ?? '');

test('docs/errors.md lists exactly the codes of the table', () => {
  assert.deepEqual(differences(errorCodes(read('docs/errors.md')), Object.keys(ERRORS)), []);
});

test('docs/configuration.md lists exactly the settings of the table', () => {
  const names = [...SETTINGS.values()].map((row) => row.key ?? `--${row.flag}`);
  assert.deepEqual(differences(settingKeys(read('docs/configuration.md')), names), []);
});

test('what the documents say of each is what the tables say', () => {
  const stale = DOCUMENTS.filter(({ path, render }) => read(path) !== withTable(read(path), render())).map(
    ({ path }) => path,
  );
  assert.deepEqual(stale, [], 'run: node test/house/documents.ts');
});

test('the check finds a missing, a surplus and a doubled entry, and a changed word', () => {
  const text = read('docs/errors.md');
  // Against the page itself, so that this holds while the page is behind the table.
  const found = (changed: string): number => differences(errorCodes(changed), errorCodes(text)).length;
  assert.equal(found(text), 0);
  assert.equal(found(text.replace('### INTERNAL\n', '')), 1);
  assert.equal(found(`${text}\n### NO_SUCH_CODE\n`), 1);
  assert.equal(found(`${text}\n### INTERNAL\n`), 1);
  const [errors] = DOCUMENTS;
  assert.ok(errors !== undefined);
  const changed = text.replace('Exit code: 64', 'Exit code: 63');
  assert.notEqual(changed, withTable(changed, errors.render()));
  assert.equal(
    differences(settingKeys('#### `tun.mtu`\n#### `--bastion URL`'), ['tun.mtu', '--bastion']).length,
    0,
  );
});
