import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as fc from 'fast-check';

import { SSH_IN_FLIGHT_FLOOR_BYTES } from '../../src/core/limits.ts';
import { SendCredit } from '../../src/ssh/send-credit.ts';

const WINDOW = 2 * 1024 * 1024;
/** OpenSSH invites anew after three packets of 32 KiB. */
const STEP = 96 * 1024;

/** A path of `rttMs` whose far end takes `bytesPerMs`; gives the bytes taken in `forMs`, and the longest queue. */
function upload(rttMs: number, bytesPerMs: number, forMs: number): { taken: number; queued: number } {
  let now = 0;
  const credit = new SendCredit(
    WINDOW,
    () => true,
    () => now,
  );
  const arriving: { at: number; bytes: number }[] = [];
  const answers: { at: number; bytes: number }[] = [];
  let waiting = 0;
  let unanswered = 0;
  let taken = 0;
  let queued = 0;
  for (; now < forMs; now += 0.05) {
    for (let bytes = credit.available; bytes > 0; bytes = credit.available) {
      credit.use(bytes, true);
      arriving.push({ at: now + rttMs / 2, bytes });
    }
    while (arriving.length > 0 && arriving[0]!.at <= now) waiting += arriving.shift()!.bytes;
    if (now > forMs / 2) queued = Math.max(queued, waiting);
    const part = Math.min(waiting, bytesPerMs * 0.05);
    waiting -= part;
    taken += part;
    unanswered += part;
    if (unanswered >= STEP) {
      answers.push({ at: now + rttMs / 2, bytes: Math.floor(unanswered) });
      unanswered -= Math.floor(unanswered);
    }
    while (answers.length > 0 && answers[0]!.at <= now) credit.adjusted(answers.shift()!.bytes);
  }
  return { taken, queued };
}

test('a path of 50 ms is filled up to the server’s window', () => {
  const { taken } = upload(50, 1_000_000, 2000);
  // 2 MiB for each 50 ms, less what the start and the steps of the answers cost.
  assert.ok(taken > 0.75 * WINDOW * (2000 / 50), `${taken}`);
});

test('beside a slow far end the queue stays a fraction of the window', () => {
  const { taken, queued } = upload(0.1, 600_000, 500);
  assert.ok(taken > 0.95 * 600_000 * 500, `${taken}`);
  assert.ok(queued <= WINDOW / 2, `${queued}`);
});

test('alone on the connection a channel has the whole window', () => {
  const credit = new SendCredit(
    WINDOW,
    () => false,
    () => 0,
  );
  assert.equal(credit.available, WINDOW);
});

test('never more than the window, whole bytes only, and never a stall', () => {
  const step = fc.record({
    send: fc.nat(WINDOW),
    answer: fc.nat(WINDOW),
    ms: fc.nat(1000),
    more: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      let now = 0;
      let sent = 0;
      let answered = 0;
      const credit = new SendCredit(
        WINDOW,
        () => true,
        () => now,
      );
      for (const { send, answer, ms, more } of steps) {
        now += ms;
        const bytes = Math.min(send, credit.available);
        credit.use(bytes, more);
        sent += bytes;
        const back = Math.min(answer, sent - answered);
        credit.adjusted(back);
        answered += back;
        assert.ok(Number.isInteger(credit.available));
        assert.ok(credit.available <= WINDOW - (sent - answered));
      }
      credit.adjusted(sent - answered);
      assert.ok(credit.available >= SSH_IN_FLIGHT_FLOOR_BYTES);
    }),
  );
});
