/** The demo is the first thing that a newcomer runs: it must work, again, and also when interrupted. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { waitFor } from '../lab/namespaces.ts';

const root = resolve(import.meta.dirname, '../..');
const DEADLINE_MS = 240_000;

interface Demo {
  readonly pid: number;
  readonly output: () => string;
  readonly ended: Promise<unknown>;
  readonly code: () => number | NodeJS.Signals | null;
  kill(signal: NodeJS.Signals): void;
}

function demo(): Demo {
  const child = spawn(process.execPath, [join(root, 'test/demo/demo.ts')], { timeout: DEADLINE_MS });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (text += part));
  return {
    pid: child.pid!,
    output: () => text,
    ended: once(child, 'close'),
    code: () => child.signalCode ?? child.exitCode,
    kill: (signal) => void child.kill(signal),
  };
}

/** Namespaces of the lab carry the pid of the process that made them. */
function namespacesOf(pid: number): string[] {
  const list = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  return list.split('\n').filter((line) => line.startsWith(`np-${pid}-`));
}

for (const time of ['first', 'second']) {
  test(`the demo works and cleans up, the ${time} time`, async () => {
    const run = demo();
    await run.ended;
    assert.equal(run.code(), 0, run.output());
    assert.deepEqual(namespacesOf(run.pid), []);
  });
}

test('an interrupted demo cleans up', async () => {
  const run = demo();
  await waitFor('its namespaces', () => namespacesOf(run.pid).length >= 3);
  run.kill('SIGINT');
  await run.ended;
  assert.notEqual(run.code(), 0, run.output());
  assert.deepEqual(namespacesOf(run.pid), [], run.output());
});
