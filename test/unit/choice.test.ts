/** Which bastion of a group is used, and which is taken as sick: with a clock of the test's own. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import {
  GROUP_FAILBACK_MS,
  GROUP_LATENCY_SETTLE_MS,
  HEALTH_SICK_MS,
  HEALTH_UNANSWERED,
  HEALTH_WAIT_MS,
} from '../../src/core/limits.ts';
import { Choice } from '../../src/ssh/choice.ts';
import type { Candidate, ChoicePolicy } from '../../src/ssh/choice.ts';
import { Health } from '../../src/ssh/health.ts';

class Bastion implements Candidate {
  readonly name: string;
  ready = true;
  healthySince = -Infinity;
  roundTripMs: number | undefined;

  constructor(name: string, roundTripMs?: number) {
    this.name = name;
    this.roundTripMs = roundTripMs;
  }
}

const POLICIES: readonly ChoicePolicy[] = ['failover', 'least-latency', 'round-robin'];

test('only connected bastions are chosen, and sick ones only when there is no other', () => {
  const state = fc.record({
    ready: fc.boolean(),
    healthySince: fc.integer({ min: -20_000, max: 120_000 }),
    roundTripMs: fc.option(fc.double({ min: 0, max: 500, noNaN: true }), { nil: undefined }),
  });
  const step = fc.record({ states: fc.array(state, { minLength: 4, maxLength: 4 }), ms: fc.nat(20_000) });
  fc.assert(
    fc.property(fc.constantFrom(...POLICIES), fc.array(step, { maxLength: 30 }), (policy, steps) => {
      const bastions = ['a', 'b', 'c', 'd'].map((name) => new Bastion(name));
      const choice = new Choice<Bastion>(policy);
      let now = 0;
      for (const { states, ms } of steps) {
        now += ms;
        for (const [index, bastion] of bastions.entries()) Object.assign(bastion, states[index]);
        const picked = choice.pick(bastions, now);
        const healthy = bastions.filter(({ ready, healthySince }) => ready && healthySince <= now);
        assert.equal(picked === undefined, !bastions.some(({ ready }) => ready));
        if (picked === undefined) continue;
        assert.ok(picked.ready);
        assert.ok(healthy.length === 0 || healthy.includes(picked));
      }
    }),
  );
});

describe('failover', () => {
  test('uses the first, goes on at once when it is lost, and returns when it has been back for a while', () => {
    const [a, b] = [new Bastion('a'), new Bastion('b')];
    const choice = new Choice<Bastion>('failover');
    const picks = (now: number): string | undefined => choice.pick([a, b], now)?.name;
    assert.equal(picks(0), 'a');
    a.ready = false;
    assert.equal(picks(1), 'b');
    Object.assign(a, { ready: true, healthySince: 100 });
    assert.equal(picks(100), 'b');
    assert.equal(picks(100 + GROUP_FAILBACK_MS - 1), 'b');
    assert.equal(picks(100 + GROUP_FAILBACK_MS), 'a');
  });

  test('returns at once to one that is back when the one in use is lost too', () => {
    const [a, b] = [new Bastion('a'), new Bastion('b')];
    const choice = new Choice<Bastion>('failover');
    a.ready = false;
    assert.equal(choice.pick([a, b], 0), b);
    Object.assign(a, { ready: true, healthySince: 100 });
    b.ready = false;
    assert.equal(choice.pick([a, b], 101), a);
  });

  test('one that was late at the start, and was never lost, is used without a wait', () => {
    const [a, b] = [new Bastion('a'), new Bastion('b')];
    a.ready = false;
    const choice = new Choice<Bastion>('failover');
    assert.equal(choice.pick([a, b], 0), b);
    a.ready = true;
    assert.equal(choice.pick([a, b], 1), a);
  });

  test('one that comes and goes is not returned to', () => {
    const [a, b] = [new Bastion('a'), new Bastion('b')];
    const choice = new Choice<Bastion>('failover');
    const changes: string[] = [];
    for (let now = 0; now < 20 * GROUP_FAILBACK_MS; now += 500) {
      const period = Math.floor(now / (GROUP_FAILBACK_MS - 1000));
      a.ready = period % 2 === 1;
      a.healthySince = period * (GROUP_FAILBACK_MS - 1000);
      const before = choice.current;
      const picked = choice.pick([a, b], now)!;
      if (picked !== before) changes.push(picked.name);
    }
    assert.deepEqual(changes, ['b']);
  });
});

test('round-robin takes each healthy bastion in turn, whichever come and go', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 6 }), fc.nat(20), (ready, before) => {
      const bastions = ready.map((each, index) => Object.assign(new Bastion(`${index}`), { ready: each }));
      const healthy = bastions.filter((bastion) => bastion.ready).length;
      fc.pre(healthy > 0);
      const choice = new Choice<Bastion>('round-robin');
      for (let i = 0; i < before; i++) choice.pick(bastions, 0);
      const picks = Array.from({ length: 3 * healthy }, () => choice.pick(bastions, 0));
      for (const bastion of bastions) {
        assert.equal(picks.filter((pick) => pick === bastion).length, bastion.ready ? 3 : 0);
      }
    }),
  );
});

describe('least latency', () => {
  test('begins with the shortest, and moves only after another was clearly shorter for a while', () => {
    const [a, b] = [new Bastion('a', 50), new Bastion('b', 40)];
    const choice = new Choice<Bastion>('least-latency');
    assert.equal(choice.pick([a, b], 0), b);
    a.roundTripMs = 20;
    assert.equal(choice.pick([a, b], 1000), b);
    assert.equal(choice.pick([a, b], 1000 + GROUP_LATENCY_SETTLE_MS - 1), b);
    assert.equal(choice.pick([a, b], 1000 + GROUP_LATENCY_SETTLE_MS), a);
  });

  test('starts the wait anew when the difference was gone in between', () => {
    const [a, b] = [new Bastion('a', 50), new Bastion('b', 40)];
    const choice = new Choice<Bastion>('least-latency');
    choice.pick([a, b], 0);
    a.roundTripMs = 20;
    choice.pick([a, b], 1000);
    a.roundTripMs = 39;
    choice.pick([a, b], 5000);
    a.roundTripMs = 20;
    choice.pick([a, b], 6000);
    assert.equal(choice.pick([a, b], 1000 + GROUP_LATENCY_SETTLE_MS), b);
    assert.equal(choice.pick([a, b], 6000 + GROUP_LATENCY_SETTLE_MS), a);
  });

  test('stays where it is while round trips differ by less than a fifth, or by 5 ms', () => {
    const near = fc.oneof(
      fc.tuple(fc.double({ min: 81, max: 120, noNaN: true }), fc.constant(100)),
      fc.tuple(fc.double({ min: 0.1, max: 5, noNaN: true }), fc.constant(5)),
    );
    fc.assert(
      fc.property(fc.array(near, { minLength: 1, maxLength: 30 }), (samples) => {
        const [a, b] = [new Bastion('a', 1), new Bastion('b', 2)];
        const choice = new Choice<Bastion>('least-latency');
        assert.equal(choice.pick([a, b], 0), a);
        let now = 0;
        for (const [other, own] of samples) {
          now += GROUP_LATENCY_SETTLE_MS;
          Object.assign(a, { roundTripMs: own });
          Object.assign(b, { roundTripMs: other });
          assert.equal(choice.pick([a, b], now), a);
        }
      }),
    );
  });
});

describe('a bastion that is connected', () => {
  const A = { address: '192.0.2.1', port: 1 };
  const B = { address: '192.0.2.2', port: 1 };

  test('is sick when opens to several hosts stay unanswered, and healthy with the next answer', () => {
    let now = 1000;
    const health = new Health(() => now);
    for (let i = 1; i < HEALTH_UNANSWERED; i++) health.unanswered(A, HEALTH_WAIT_MS);
    assert.ok(health.sickUntil <= now);
    health.unanswered(B, HEALTH_WAIT_MS);
    assert.equal(health.sickUntil, now + HEALTH_SICK_MS);
    now += HEALTH_SICK_MS;
    assert.ok(health.sickUntil <= now, 'it is tried again');
    health.unanswered(A, HEALTH_WAIT_MS);
    assert.equal(health.sickUntil, now + HEALTH_SICK_MS, 'one more is enough');
    health.answered();
    assert.ok(health.sickUntil <= now);
    health.unanswered(A, HEALTH_WAIT_MS);
    health.unanswered(B, HEALTH_WAIT_MS);
    assert.ok(health.sickUntil <= now, 'the count begins anew');
  });

  test('is not sick because of one host, nor of people without patience', () => {
    const health = new Health(() => 0);
    for (let i = 0; i < 100; i++) health.unanswered({ ...A, port: i }, HEALTH_WAIT_MS);
    assert.equal(health.sickUntil, -Infinity);
    for (let i = 0; i < 100; i++) health.unanswered(B, HEALTH_WAIT_MS - 1);
    assert.equal(health.sickUntil, -Infinity);
  });
});
