import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DialFailure } from '../../src/core/dialer.ts';
import { SSH_OPENS_MAX, SSH_OPENS_PER_TARGET_MAX } from '../../src/core/limits.ts';
import { Backoff } from '../../src/ssh/backoff.ts';
import { PendingDial } from '../../src/ssh/dial.ts';
import { Keepalive } from '../../src/ssh/keepalive.ts';
import { OpenQueue } from '../../src/ssh/opens.ts';
import { ORIGIN } from './harness.ts';

function dialTo(address: string): PendingDial {
  return new PendingDial({ address, port: 80 }, ORIGIN, { opened: () => {}, failed: () => {} }, () => {});
}

test('a target that never answers leaves room for the others', () => {
  const queue = new OpenQueue();
  const out = Array.from({ length: 1000 }, () => queue.admit(dialTo('black-hole'))).filter(Boolean);
  assert.equal(out.length, SSH_OPENS_PER_TARGET_MAX);
  assert.equal(queue.admit(dialTo('other')), true);
  assert.equal(queue.next(), undefined);
  // Nobody waits any more, but sshd is still at it: no further opens to that target.
  for (let i = 0; i < SSH_OPENS_PER_TARGET_MAX; i++) queue.abandoned();
  assert.equal(queue.next(), undefined);
  queue.answered('black-hole', false);
  assert.equal(queue.next()?.target.address, 'black-hole');
  assert.equal(queue.next(), undefined);
  assert.equal(queue.drain().length, 1000 - SSH_OPENS_PER_TARGET_MAX - 1);
});

test('opens are bounded in total, waiting targets take turns, and dials that are over are skipped', () => {
  const queue = new OpenQueue();
  for (let i = 0; i < SSH_OPENS_MAX; i++) assert.equal(queue.admit(dialTo(`busy-${i}`)), true);
  const a = [dialTo('a'), dialTo('a'), dialTo('a')];
  for (const dial of [...a, dialTo('b'), dialTo('b')]) assert.equal(queue.admit(dial), false);
  assert.equal(queue.next(), undefined);
  a[1]!.cancel();
  const order: (string | undefined)[] = [];
  for (let i = 0; i < 5; i++) {
    queue.answered(`busy-${i}`, true);
    order.push(queue.next()?.target.address);
  }
  assert.deepEqual(order, ['a', 'b', 'a', 'b', undefined]);
});

test('a dial ends once, whatever happens after', () => {
  const failures: DialFailure[] = [];
  let ended = 0;
  const handlers = {
    opened: () => assert.fail('opened'),
    failed: (failure: DialFailure) => void failures.push(failure),
  };
  const dial = new PendingDial({ address: 'a', port: 1 }, ORIGIN, handlers, () => ended++);
  let abandoned = 0;
  dial.abandon = () => abandoned++;
  dial.fail({ reason: 'refused', message: '1' });
  dial.fail({ reason: 'refused', message: '2' });
  dial.cancel();
  assert.deepEqual([failures.length, ended, abandoned, dial.over], [1, 1, 1, true]);
});

test('delays between attempts double up to a limit, with jitter', () => {
  const backoff = new Backoff();
  const delays = Array.from({ length: 12 }, () => backoff.delay());
  for (const [i, delay] of delays.entries()) {
    const full = Math.min(250 * 2 ** i, 15_000);
    assert.ok(delay >= full / 2 && delay <= full, `attempt ${i}: ${delay}`);
  }
  backoff.reset();
  assert.ok(backoff.delay() <= 250);
});

test('an absent server that is wanted is looked for every second; one that turned us away is not', () => {
  const backoff = new Backoff();
  for (let i = 0; i < 12; i++) assert.ok(backoff.delay('absent', true) <= 1000);
  const away = Array.from({ length: 12 }, () => backoff.delay('turned-away', true));
  for (const [i, delay] of away.entries()) {
    const full = Math.min(2000 * 2 ** i, 60_000);
    assert.ok(delay >= full / 2 && delay <= full, `attempt ${i}: ${delay}`);
  }
  assert.ok(backoff.delay('absent') <= 250, 'each kind of failure begins anew');
});

test('three unanswered probes in a row mean death when that is set, and any byte means life', async () => {
  let received = 0;
  let probes = 0;
  await new Promise<void>((resolve) => {
    const keepalive = new Keepalive(
      () => received,
      () => {
        if (++probes <= 5) received++;
      },
      () => {
        keepalive.stop();
        resolve();
      },
      2,
      3,
    );
  });
  assert.equal(probes, 8);
});
