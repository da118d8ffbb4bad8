/**
 * The TCP core under sanitizers: packet scripts, slow oracles, simulation, fuzzers, and the engine's thread
 * on a real TUN. Each is a C++ program that `core/run.mjs` builds; a failure shows what it printed.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'node:test';

const runner = fileURLToPath(new URL('core/run.mjs', import.meta.url));

/** Milliseconds. A build from nothing and a run, on a slow machine. */
const DEADLINE_MS = 800_000;
/** More than the groups give a test. */
const LONG = { timeout: DEADLINE_MS + 50_000 };

/** What the program printed; throws with it when the program failed. */
async function run(target: string, ...args: string[]): Promise<string> {
  const done = await promisify(execFile)(process.execPath, [runner, target, ...args], {
    timeout: DEADLINE_MS,
    maxBuffer: 16 << 20,
  });
  return done.stdout;
}

test('packet scripts and slow oracles', LONG, async () => {
  assert.match(await run('scripts'), /Status: SUCCESS/);
});

test(
  'thousands of simulated conversations over a bad link end byte by byte right, or by a clean abort',
  LONG,
  async () => {
    assert.match(await run('simulation'), /3000 seeds good/);
  },
);

for (const target of ['fuzz-ip', 'fuzz-tcp', 'fuzz-stack']) {
  test(`${target} finds nothing`, LONG, async () => {
    await run(target);
  });
}

for (const target of ['engine-asan', 'engine-tsan', 'link-asan', 'link-tsan']) {
  test(`the engine's thread, its caller and an SSH connection on a real TUN: ${target}`, LONG, async () => {
    assert.match(await run(target), /good/);
  });
}

test(
  'the helper in another namespace: commands, descriptors, and bytes that are none of its frames',
  LONG,
  async () => {
    assert.match(await run('helper-asan'), /good/);
  },
);

test('sockets, their owners and errors, and what gives rights up', LONG, async () => {
  assert.match(await run('system-asan'), /good/);
});
