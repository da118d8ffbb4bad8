import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Health } from '../../src/control/health.ts';
import { Readiness } from '../../src/control/readiness.ts';
import type { Channel, DialFailure, Dialer } from '../../src/core/dialer.ts';
import type { Endpoint } from '../../src/core/flow.ts';

test('it is ready when every condition holds, and tells the age of each', async () => {
  let now = 0;
  const health = new Health(() => now);
  now = 4000;
  health.set('takeover', true, 'done');
  health.set('bastion', true, 'connected');
  assert.equal(health.ready, false);
  const ready = health.whenReady();
  now = 9000;
  health.set('takeover', true, 'done again');
  health.set('channel', true, 'opened');
  await ready;
  assert.equal(health.ready, true);
  assert.deepEqual(health.conditions(), [
    { name: 'takeover', ok: true, reason: 'done again', forSeconds: 5 },
    { name: 'bastion', ok: true, reason: 'connected', forSeconds: 5 },
    { name: 'channel', ok: true, reason: 'opened', forSeconds: 0 },
  ]);
  health.set('bastion', false, 'lost');
  assert.equal(health.ready, false);
});

/** A dialer that answers each dial at once as `answer` says. */
function dialer(answer: DialFailure | 'opened', dialled: Endpoint[]): Dialer {
  return {
    dial(target, _origin, handlers) {
      dialled.push(target);
      if (answer === 'opened') handlers.opened({ abort() {} } as Channel);
      else handlers.failed(answer);
      return { cancel() {} };
    },
  };
}

for (const [what, answer, ok] of [
  ['an opened channel', 'opened', true],
  ['a target that refuses', { reason: 'refused', message: 'Connection refused' }, true],
  ['a target without a route', { reason: 'network-unreachable', message: 'open failed' }, true],
  ['a server that forbids', { reason: 'prohibited', message: 'administratively prohibited' }, false],
  ['silence', { reason: 'host-unreachable', message: 'no answer' }, false],
] as const) {
  test(`${what} ${ok ? 'proves' : 'does not prove'} that channels can be opened`, () => {
    const health = new Health(() => 0);
    const dialled: Endpoint[] = [];
    const target = { address: '127.0.0.1', port: 22 };
    let state = 'down';
    const readiness = new Readiness({
      health,
      bastions: () => [{ name: 'main', state, reason: 'SSH' }],
      dialer: () => dialer(answer, dialled),
      target: () => target,
    });
    readiness.takenOver();
    readiness.look();
    assert.deepEqual(dialled, [], 'nothing is tried before a bastion is connected');
    state = 'ready';
    readiness.look();
    readiness.look();
    assert.deepEqual(dialled, [target], 'once, and not again before its time');
    assert.equal(health.ready, ok);
    const channel = health.conditions().find(({ name }) => name === 'channel')!;
    assert.equal(channel.ok, ok);
    if (!ok) assert.match(channel.reason, /readyTarget/);
  });
}
