/** How many connections a bastion has, with sessions and a clock of the test's own. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import * as fc from 'fast-check';
import type { DialFailure } from '../../src/core/dialer.ts';
import {
  POOL_CHANNELS_MAX,
  POOL_GROW_PART,
  POOL_IDLE_MS,
  POOL_POLL_MS,
  POOL_SWEEP_MS,
  SHORTAGE_CHANNELS_MIN,
  SHORTAGE_FLOOR,
  SHORTAGE_MARGIN,
} from '../../src/core/limits.ts';
import { ChannelLimit } from '../../src/ssh/channel-limit.ts';
import { PendingDial } from '../../src/ssh/dial.ts';
import { openFailure } from '../../src/ssh/open-failure.ts';
import { Pool } from '../../src/ssh/pool.ts';
import type { PooledSession } from '../../src/ssh/pool.ts';
import { TurnedAway } from '../../src/ssh/turned-away.ts';

const TARGET = { address: '192.0.2.1', port: 1 };
const OTHER = { address: '192.0.2.2', port: 1 };
const NO_REASON = openFailure(2, 'open failed');
const SHORTAGE = openFailure(4, 'resource shortage');

describe('the limit of a connection', () => {
  test('is taken from a refusal beside many channels, and disproved by one beside few', () => {
    const limit = new ChannelLimit(() => 0);
    assert.equal(limit.refused(TARGET, NO_REASON, SHORTAGE_CHANNELS_MIN - 1, false), false);
    assert.equal(limit.value, POOL_CHANNELS_MAX);
    assert.equal(limit.refused(TARGET, NO_REASON, 57, false), true);
    assert.equal(limit.value, 57 - SHORTAGE_MARGIN);
    assert.ok(limit.learnt);
    assert.equal(limit.refused(TARGET, NO_REASON, 3, true), false);
    assert.equal(limit.value, POOL_CHANNELS_MAX);
    assert.equal(limit.refused(TARGET, NO_REASON, 57, false), false, 'the target is known');
    assert.equal(limit.refused(OTHER, NO_REASON, 57, false), true);
  });

  test('is believed when the server says so, and never below the floor', () => {
    const limit = new ChannelLimit(() => 0);
    assert.equal(limit.refused(TARGET, SHORTAGE, 1, false), true);
    assert.equal(limit.value, SHORTAGE_FLOOR);
    const told = new ChannelLimit(() => 0);
    assert.equal(told.refused(TARGET, openFailure(2, 'Too many open files'), 20, false), true);
    assert.equal(told.value, 20 - SHORTAGE_MARGIN);
    assert.equal(told.refused(TARGET, openFailure(2, 'Connection refused'), 10, false), false);
    assert.equal(told.value, 20 - SHORTAGE_MARGIN);
  });
});

class FakeSession implements PooledSession {
  readonly dials: PendingDial[] = [];
  size = 0;
  commands = 0;
  attended = false;
  closed = false;
  retired = false;

  open(dial: PendingDial): void {
    this.dials.push(dial);
    this.size++;
  }

  retire(): void {
    assert.equal(this.closed, false);
    this.retired = true;
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

interface World {
  readonly pool: Pool<FakeSession>;
  readonly made: FakeSession[];
  readonly failures: DialFailure[];
  now: number;
  dial(): PendingDial;
}

/** A pool with its first connection. */
function world(t: TestContext, most = 4): World {
  t.mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  const quiet = (): void => {};
  const made: FakeSession[] = [];
  const failures: DialFailure[] = [];
  const it: World = {
    made,
    failures,
    now: 0,
    pool: new Pool<FakeSession>({
      log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
      connect: () => {
        made.push(new FakeSession());
        return made.at(-1)!;
      },
      send: (session, dial) => {
        dial.within(3_600_000, SHORTAGE);
        session.open(dial);
      },
      holdMs: () => 10_000,
      most: () => most,
      now: () => it.now,
    }),
    dial: () =>
      new PendingDial(TARGET, OTHER, { opened: quiet, failed: (failure) => failures.push(failure) }, quiet),
  };
  const first = new FakeSession();
  made.push(first);
  it.pool.add(first);
  t.after(() => it.pool.close());
  return it;
}

const opened = ({ made }: World): number[] => made.map(({ dials }) => dials.length);

test('the next connection is begun ahead of the limit, one at a time, and no more than allowed', (t) => {
  const it = world(t, 2);
  const [first] = it.made;
  first!.size = POOL_CHANNELS_MAX * POOL_GROW_PART - 1;
  it.pool.open(it.dial());
  assert.equal(it.made.length, 1);
  it.pool.open(it.dial());
  it.pool.open(it.dial());
  assert.equal(it.made.length, 2);
  assert.deepEqual(opened(it), [3, 0]);
  it.pool.add(it.made[1]!);
  for (const session of it.made) session.size = POOL_CHANNELS_MAX;
  it.made[1]!.size++;
  it.pool.open(it.dial());
  assert.equal(it.made.length, 2);
  assert.deepEqual(opened(it), [4, 0], 'an assumed limit makes nobody wait');
});

test('dials wait for the connection that is being made, and are placed in their order', (t) => {
  const it = world(t);
  it.made[0]!.size = POOL_CHANNELS_MAX;
  const dials = [it.dial(), it.dial(), it.dial()];
  for (const dial of dials) it.pool.open(dial);
  dials[1]!.cancel();
  assert.deepEqual([opened(it), it.pool.size], [[0, 0], POOL_CHANNELS_MAX + 2]);
  it.pool.add(it.made[1]!);
  assert.deepEqual(it.made[1]!.dials, [dials[0], dials[2]]);
  assert.equal(it.failures.length, 0);
});

test('a server that turns the next connection away is not asked again soon, and the first one is used on', (t) => {
  const it = world(t);
  it.made[0]!.size = POOL_CHANNELS_MAX;
  it.pool.open(it.dial());
  assert.equal(it.pool.remove(it.made[1]!, new TurnedAway(true, 'Exceeded MaxStartups')), 'growing');
  t.mock.timers.tick(POOL_POLL_MS);
  assert.deepEqual(opened(it), [1, 0]);
  it.pool.open(it.dial());
  assert.equal(it.made.length, 2);
  it.now += 60_000;
  it.pool.open(it.dial());
  assert.equal(it.made.length, 3);
});

test('at a limit that was learnt, dials wait for room, and fail when there is none in time', (t) => {
  const it = world(t, 1);
  const [first] = it.made;
  first!.size = 57;
  assert.equal(it.pool.refused(it.dial(), SHORTAGE, 57), true);
  it.pool.open(it.dial());
  assert.deepEqual(opened(it), [0]);
  first!.size = 57 - SHORTAGE_MARGIN - 1;
  t.mock.timers.tick(POOL_POLL_MS);
  assert.deepEqual(opened(it), [1]);
  t.mock.timers.tick(10_000);
  assert.deepEqual(
    it.failures.map(({ reason }) => reason),
    ['host-unreachable'],
  );
  assert.equal(it.pool.size, first!.size);
});

test('one dial is not moved for ever', (t) => {
  const it = world(t, 3);
  const dial = it.dial();
  assert.deepEqual(
    Array.from({ length: 4 }, () => it.pool.refused(dial, SHORTAGE, 0)),
    [true, true, true, false],
  );
});

test('with one connection alone, a refusal without a reason is passed on', (t) => {
  const it = world(t, 1);
  assert.equal(it.pool.refused(it.dial(), NO_REASON, 500), false);
});

test('where a person had to log in, no further connection is made', (t) => {
  const it = world(t);
  Object.assign(it.made[0]!, { attended: true, size: POOL_CHANNELS_MAX });
  it.pool.open(it.dial());
  assert.deepEqual(opened(it), [1]);
});

test('connections that are idle end, but never the first', (t) => {
  const it = world(t);
  it.made[0]!.size = POOL_CHANNELS_MAX;
  it.pool.open(it.dial());
  it.pool.add(it.made[1]!);
  const pass = (ms: number): void => {
    it.now += ms;
    t.mock.timers.tick(POOL_SWEEP_MS);
  };
  pass(2 * POOL_IDLE_MS);
  assert.equal(it.made[1]!.closed, false, 'it has a channel');
  it.made[0]!.size = 0;
  it.made[1]!.size = 0;
  pass(POOL_IDLE_MS - 1);
  assert.equal(it.made[1]!.closed, false);
  pass(1);
  assert.deepEqual(
    it.made.map(({ closed }) => closed),
    [false, true],
  );
  assert.equal(it.pool.sessions.length, 1);
});

test('a command alone keeps no further connection, unless no other has room for it', (t) => {
  const it = world(t);
  const [first] = it.made;
  first!.size = POOL_CHANNELS_MAX;
  it.pool.open(it.dial());
  it.pool.add(it.made[1]!);
  const second = it.made[1]!;
  second.commands = 1;
  const pass = (): void => {
    it.now += POOL_IDLE_MS;
    t.mock.timers.tick(POOL_SWEEP_MS);
  };
  pass();
  assert.equal(second.closed, false, 'the first is full');
  first!.size = POOL_CHANNELS_MAX - 1;
  second.size = 2;
  pass();
  assert.equal(second.closed, false, 'it has another channel');
  second.size = 1;
  pass();
  assert.deepEqual([second.retired, second.closed, first!.retired], [true, true, false]);
  first!.commands = 1;
  pass();
  assert.deepEqual([first!.retired, first!.closed], [false, false]);
});

test('whatever comes and goes, a dial is at one place, and no connection beside the last has more than its limit', (t) => {
  const step = fc.constantFrom('open', 'ready', 'lost', 'end', 'refuse');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const it = world(t, 3);
      let all = 0;
      for (const what of steps) {
        const { sessions } = it.pool;
        const making = it.made.find((session) => !sessions.includes(session) && !session.closed);
        if (what === 'open' || what === 'refuse') all++;
        if (what === 'open') it.pool.open(it.dial());
        else if (what === 'refuse' && !it.pool.refused(it.dial(), SHORTAGE, 20)) all--;
        else if (what === 'ready' && making !== undefined) it.pool.add(making);
        else if (what === 'lost' && sessions.length > 1) {
          const lost = sessions[0]!;
          lost.closed = true;
          it.pool.remove(lost, new Error('lost'));
          all -= lost.size;
        } else if (what === 'end' && sessions[0]!.size > 0) {
          sessions[0]!.size--;
          all--;
        }
        assert.equal(it.pool.size, all);
        assert.ok(it.pool.sessions.length <= 3);
        for (const { size } of it.pool.sessions) assert.ok(size <= POOL_CHANNELS_MAX);
      }
      void it.pool.close();
      t.mock.timers.reset();
    }),
    { numRuns: 200 },
  );
});
