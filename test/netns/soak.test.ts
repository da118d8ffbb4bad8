/** Mixed conversations for minutes: memory stays flat, and nothing is left when they have ended. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

/** Two minutes in CI; docs/contributing.md has the command for half an hour. */
const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 120);
/** Megabytes that the last third may use more than the second: the heap breathes, a leak grows. */
const GROWTH_MB = 12;
/** Timers of JavaScript that a process at rest may have more at one time than at another. */
const TIMERS_SLACK = 3;
/** Milliseconds for the engine's last timers to run out; the longest is a retransmission's. */
const REST_DEADLINE_MS = 60_000;
/** Milliseconds for which the number of descriptors stays the same once the start is over. */
const SETTLED_MS = 3000;

const residentMb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

interface State {
  readonly msg: string;
  readonly flows: number;
  readonly timers: number;
  readonly engineTimers: number;
  readonly slabsInUse: number;
  readonly blocksInUse: number;
  readonly receivedBytes: number;
  readonly pendingDials: number;
}

test(`${SECONDS} s of bulk, chatty, aborted, half-closed, slow and refused connections`, async (t) => {
  const world = await World.create();
  // V8 lets its young generation grow with the load, by some 25 MB in the first minutes (heapTotal; what is
  // used of it stays flat). Kept small here, it does not hide a leak.
  const netproxy = world.bare([...world.flags, '--log-level', 'warn'], {
    NODE_OPTIONS: '--max-semi-space-size=2',
  });
  try {
    await netproxy.ready();
    const pid = netproxy.child.pid!;
    const state = async (): Promise<State> => {
      const told = netproxy.stderr.length;
      netproxy.child.kill('SIGUSR2');
      return await waitFor('the state', () => {
        const line = netproxy.stderr.slice(told).split('\n').slice(0, -1);
        const found = line.find((text) => text.includes('"state"'));
        return found === undefined ? undefined : (JSON.parse(found) as State);
      });
    };
    // The first flow opens the socket that asks for owners, which is kept.
    assert.deepEqual(await world.client('connect', LAB.target.v4, PORTS.echo), { connected: true });
    // What the start has open for a while is closed by then, such as the files and searches of its first seconds.
    let before = -1;
    await waitFor(
      'the start to be over',
      async () => {
        before = descriptors(pid);
        await sleep(SETTLED_MS);
        return descriptors(pid) === before;
      },
      REST_DEADLINE_MS,
    );
    const { timers } = await state();
    const samples: number[] = [];
    const sampler = setInterval(() => samples.push(residentMb(pid)), 250);
    const script = join(import.meta.dirname, 'soak-client.ts');
    const { stdout, stderr } = await world.lab.app.run(
      [process.execPath, script, LAB.target.v4, String(SECONDS)],
      { timeoutMs: (SECONDS + 60) * 1000, mayFail: true },
    );
    clearInterval(sampler);
    assert.notEqual(stdout, '', stderr);
    const { right, wrong } = JSON.parse(stdout) as { right: Record<string, number>; wrong: string[] };
    t.diagnostic(JSON.stringify(right));
    assert.deepEqual(wrong.slice(0, 5), []);
    assert.equal(Object.keys(right).length, 6);

    const third = Math.floor(samples.length / 3);
    const middle = median(samples.slice(third, 2 * third));
    const last = median(samples.slice(2 * third));
    t.diagnostic(`resident: middle ${middle.toFixed(1)} MB, last ${last.toFixed(1)} MB`);
    assert.ok(last - middle < GROWTH_MB, `grew from ${middle} to ${last} MB`);

    // What was aborted may still be on its way out, and the timers of closed flows run out by themselves.
    const rest = await waitFor(
      'the last flow and timer to end',
      async () => {
        const now = await state();
        return now.flows === 0 && now.engineTimers === 0 && now.timers <= timers + TIMERS_SLACK && now;
      },
      REST_DEADLINE_MS,
    );
    const { pendingDials, blocksInUse, receivedBytes, slabsInUse } = rest;
    assert.deepEqual(
      { pendingDials, blocksInUse, receivedBytes },
      { pendingDials: 0, blocksInUse: 0, receivedBytes: 0 },
    );
    assert.ok(slabsInUse <= 1, `${slabsInUse} slabs, of which the reader has one`);
    t.diagnostic(`timers: ${timers} before, ${rest.timers} after; descriptors: ${before} before`);
    assert.equal(descriptors(pid), before);
    assert.equal(await netproxy.stop(), 0);
  } finally {
    await netproxy.stop('SIGKILL');
    await world.close();
  }
});
