/** Mixed conversations for minutes: memory stays flat, and nothing is left when they have ended. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { World } from './world.ts';

/** Two minutes in CI; `SOAK_SECONDS=1800 npm run test:netns` for the long one. */
const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 120);
/** Megabytes that the last third may use more than the second: the heap breathes, a leak grows. */
const GROWTH_MB = 12;

const residentMb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

interface State {
  readonly msg: string;
  readonly flows: number;
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
    const before = descriptors(pid);
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

    // What was aborted may still be on its way out.
    let state: State | undefined;
    await waitFor('the last flow to end', () => {
      netproxy.child.kill('SIGUSR2');
      const line = netproxy.stderr.trimEnd().split('\n').at(-1)!;
      state = line.includes('"state"') ? (JSON.parse(line) as State) : undefined;
      return state?.flows === 0;
    });
    const { pendingDials, blocksInUse, receivedBytes, slabsInUse } = state!;
    assert.deepEqual(
      { pendingDials, blocksInUse, receivedBytes },
      { pendingDials: 0, blocksInUse: 0, receivedBytes: 0 },
    );
    assert.ok(slabsInUse <= 1, `${slabsInUse} slabs, of which the reader has one`);
    assert.equal(descriptors(pid), before);
    assert.equal(await netproxy.stop(), 0);
  } finally {
    await netproxy.stop('SIGKILL');
    await world.close();
  }
});
