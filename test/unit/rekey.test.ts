/** When new keys are asked for, with a clock of the test's own. */
import assert from 'node:assert/strict';
import { beforeEach, mock, afterEach, test } from 'node:test';
import { SSH_REKEY_BYTES, SSH_REKEY_DEADLINE_MS, SSH_REKEY_LOOK_MS } from '../../src/core/limits.ts';
import { Rekey } from '../../src/ssh/rekey.ts';

let now: number;
let bytes: number;
let running: boolean;
let asked: number[];
let stuck: number;
let rekey: Rekey | undefined;

beforeEach(() => {
  mock.timers.enable({ apis: ['setInterval'] });
  [now, bytes, running, asked, stuck] = [0, 0, false, [], 0];
});
afterEach(() => {
  rekey?.stop();
  mock.timers.reset();
});

function start(intervalMs: number): Rekey {
  rekey = new Rekey(
    { bytes: () => bytes, running: () => running, begin: () => asked.push(now), stuck: () => stuck++ },
    intervalMs,
    () => now,
  );
  return rekey;
}

function pass(ms: number): void {
  for (const end = now + ms; now < end;) {
    now += SSH_REKEY_LOOK_MS;
    mock.timers.tick(SSH_REKEY_LOOK_MS);
  }
}

test('by the clock, counted from the last keys, whoever asked for them', () => {
  const keys = start(3_600_000);
  pass(3_590_000);
  assert.deepEqual(asked, []);
  pass(10_000);
  assert.deepEqual(asked, [3_600_000]);
  keys.done();
  pass(1_800_000);
  keys.done();
  pass(3_590_000);
  assert.equal(asked.length, 1);
  pass(10_000);
  assert.equal(asked.length, 2);
});

test('by bytes, with and without a clock', () => {
  const keys = start(0);
  pass(7 * 24 * 3_600_000);
  assert.deepEqual(asked, []);
  bytes = SSH_REKEY_BYTES;
  pass(SSH_REKEY_LOOK_MS);
  assert.equal(asked.length, 1);
  keys.done();
  bytes += SSH_REKEY_BYTES - 1;
  pass(3_600_000);
  assert.equal(asked.length, 1);
});

test('an exchange that does not end is told once, and one that ends is not', () => {
  const keys = start(0);
  running = true;
  pass(SSH_REKEY_DEADLINE_MS);
  running = false;
  keys.done();
  pass(SSH_REKEY_DEADLINE_MS);
  assert.equal(stuck, 0);
  running = true;
  pass(3 * SSH_REKEY_DEADLINE_MS);
  assert.equal(stuck, 1);
  assert.deepEqual(asked, []);
});
