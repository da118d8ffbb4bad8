import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseArguments } from '../../src/cli/arguments.ts';
import { COMMAND_NAMES } from '../../src/cli/catalogue.ts';
import { loadConfig } from '../../src/config/load.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { ProblemsError } from '../../src/core/errors.ts';

/** Loads; a ProblemsError is as good as a configuration, anything else is a defect. */
async function loadOrProblems(text: string, environment: Record<string, string> = {}): Promise<void> {
  try {
    await loadConfig({
      flags: new Map(),
      environment: { ...environment, NETPROXY_CONFIG: '/c.yaml' },
      readFile: () => Buffer.from(text),
    });
  } catch (error) {
    assert.ok(error instanceof ProblemsError, String(error));
    for (const { where, message } of error.problems) assert.ok(where !== '' && message !== '');
  }
}

const keys = [...SETTINGS.values()].flatMap(({ key }) => key?.split(/\[\]\.|\./) ?? []);

test('any text as a file gives a configuration or problems with places', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), (text) => loadOrProblems(text)),
    { numRuns: 300 },
  );
});

test('any value at any key gives a configuration or problems with places', async () => {
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.double()),
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.dictionary(
        fc.constantFrom(...keys, 'bastions', 'tun', 'log', '<<', '__proto__', 'constructor'),
        tie('tree'),
        { maxKeys: 6 },
      ),
    ),
  }));
  // JSON is YAML.
  await fc.assert(
    fc.asyncProperty(tree, (value) => loadOrProblems(JSON.stringify(value) ?? '')),
    { numRuns: 500 },
  );
});

test('any environment gives a configuration or problems with places', async () => {
  const names = [...SETTINGS.values()]
    .flatMap(({ env }) => env ?? [])
    .filter((name) => name !== 'NETPROXY_CONFIG');
  const name = fc.oneof(
    fc.constantFrom(...names),
    fc.string().map((text) => `NETPROXY_${text}`),
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, fc.string({ unit: 'binary' })), (environment) =>
      loadOrProblems('', environment),
    ),
    { numRuns: 300 },
  );
});

test('any arguments are parsed without an exception', () => {
  const word = fc.oneof(
    fc.constantFrom(...COMMAND_NAMES, '-c', '--', '--help', '--json', '-V'),
    fc.constantFrom(...SETTINGS.values()).map(({ flag }) => `--${flag}`),
    fc.constantFrom(...SETTINGS.values()).chain(({ flag }) => fc.string().map((text) => `--${flag}=${text}`)),
    fc.constantFrom('--__proto__', '--constructor', '--no-json', '-hV', '--=x', '-'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (argv) => void parseArguments(argv)),
    { numRuns: 1000 },
  );
});
