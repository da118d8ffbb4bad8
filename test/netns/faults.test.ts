/**
 * Each row of the table in docs/reliability.md, as an application sees it: a connection that is open
 * when the fault begins, a new one meanwhile, and how soon one works again.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { FAULTS } from './faults.ts';
import type { Fault } from './faults.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

/** Milliseconds for "at once", and by which every bound may be missed on a busy machine. */
const AT_ONCE_MS = 1000;
const SLACK_MS = 2000;
/** Most of a test is waiting. */
const AT_A_TIME = 3;

interface Row {
  readonly fault: string;
  readonly open: string;
  readonly connects: string;
  readonly back: string;
}

const document = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8');
const rows = [...document.matchAll(/^\| (?!fault |-)(.+) \| (.+) \| (.+) \| (.+) \|$/gm)].map(
  ([, fault = '', open = '', connects = '', back = '']): Row => ({ fault, open, connects, back }),
);

test('the table has a row for each fault', () => {
  assert.deepEqual(rows.map(({ fault }) => fault).toSorted(), Object.keys(FAULTS).toSorted());
});

/** What a client saw: an errno, or that it connected; `at` is the time of day, and `ms` how long it took. */
interface Seen {
  readonly connected?: boolean;
  readonly code?: string;
  readonly at: number;
  readonly ms: number;
  /** When a client that tries again and again began. */
  readonly since?: number;
}

/** Holds an errno and a time against words such as "`ECONNRESET` within 15 s". */
function holds(words: string, code: string | undefined, ms: number, log: string): void {
  const [, errno, when = '', seconds = ''] =
    /^`(E[A-Z]+)` (within|after|at once)(?: (\d+) s)?$/.exec(words) ?? [];
  assert.ok(errno !== undefined, `not understood: ${words}`);
  const bound = Number(seconds) * 1000;
  const least = when === 'after' ? bound * 0.95 : 0;
  const most = (when === 'at once' ? AT_ONCE_MS : bound) + SLACK_MS;
  assert.equal(code, errno, log);
  assert.ok(ms >= least && ms <= most, `${words}: it was after ${Math.round(ms)} ms\n${log}`);
}

async function show(row: Row, fault: Fault, world: World): Promise<void> {
  const netproxy = world.netproxy(...(fault.flags ?? []));
  await netproxy.ready();
  const log = (): string => netproxy.stderr.slice(-3000);
  const { address = LAB.target.v4, port = PORTS.echo } = fault;

  let ended: Seen | undefined;
  const open = world
    .client<Seen>('keep', LAB.target.v4, PORTS.echo, fault.sendEveryMs ?? 0)
    .then((seen) => (ended = seen));
  // One that goes on to the end is ended with its world.
  open.catch(() => {});
  await waitFor('the connection', async () => {
    const filter = ['state', 'established', `sport = :${PORTS.echo}`];
    return (await world.lab.target.run(['ss', '-Htn', ...filter])).stdout !== '';
  });
  const goesOn = row.connects.startsWith('`')
    ? undefined
    : world.client<Traffic>('repeat', address, port, 8000);
  if (goesOn !== undefined) await sleep(1000);

  await fault.begin(world);
  const begun = Date.now();
  if (goesOn === undefined) {
    const { code, ms } = await world.client<Seen>('connect', address, port);
    holds(row.connects, code, ms, log());
  }
  if (row.open !== 'goes on') {
    const { code, at } = await open;
    holds(row.open, code, Math.max(0, at - begun), log());
  }
  assert.ok(row.open !== 'goes on' || ended === undefined, `${JSON.stringify(ended)}\n${log()}`);

  const [, seconds] = /^within (\d+) s$/.exec(row.back) ?? [];
  assert.ok(seconds !== undefined, `not understood: ${row.back}`);
  const until = world.client<Seen>('until', address, port);
  await fault.end(world);
  const over = Date.now();
  // The client may come up later than what it waits for.
  const { at, since = 0 } = await until;
  const back = at - Math.max(over, since);
  assert.ok(back <= Number(seconds) * 1000 + SLACK_MS, `back after ${back} ms\n${log()}`);
  if (goesOn !== undefined) {
    assert.equal(row.connects, 'succeed');
    const { failed, connected } = await goesOn;
    assert.deepEqual(failed, [], log());
    assert.ok(connected > 3, `${connected} connects`);
  }
}

interface Traffic {
  readonly connected: number;
  readonly failed: readonly string[];
}

describe('what the application sees when', { concurrency: AT_A_TIME }, () => {
  for (const row of rows) {
    test(row.fault, { timeout: 240_000 }, async (t) => {
      const fault = FAULTS[row.fault];
      assert.ok(fault !== undefined, 'there is no such fault');
      const world = await World.create({ config: fault.config ?? [] });
      t.after(() => world.close());
      await show(row, fault, world);
    });
  }
});
