/** What a bastion learns of targets: with a clock of the test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetproxyError } from '../../src/core/errors.ts';
import {
  BREAKER_PROBE_MS,
  BREAKER_TARGETS_MAX,
  BREAKER_UNANSWERED,
  REFUSAL_MS,
  REFUSAL_PROBE_MS,
  REFUSALS_MAX,
  REFUSED_TARGETS_WARNING,
} from '../../src/core/limits.ts';
import { Breaker } from '../../src/ssh/breaker.ts';
import { openFailure } from '../../src/ssh/open-failure.ts';
import { Refusals } from '../../src/ssh/refusals.ts';
import { Targets } from '../../src/ssh/targets.ts';
import { TurnedAway, attemptFailure } from '../../src/ssh/turned-away.ts';

const A = { address: '192.0.2.1', port: 1 };
const SAME_HOST = { address: '192.0.2.1', port: 2 };
const PROHIBITED = openFailure(1, 'open failed');
const REFUSED = openFailure(2, 'Connection refused');
const TIMED_OUT = openFailure(2, 'Connection timed out');

interface Watched {
  readonly targets: Targets;
  readonly warnings: string[];
  now: number;
}

function watched(): Watched {
  const warnings: string[] = [];
  const quiet = (): void => {};
  const log = {
    debug: quiet,
    info: quiet,
    error: quiet,
    warn: (_fields: object, line: string) => warnings.push(line),
  };
  const world: Watched = { targets: new Targets(log, () => world.now), warnings, now: 1000 };
  return world;
}

test('a forbidden target is answered at once, alone, and for a while', () => {
  const world = watched();
  assert.equal(world.targets.known(A), undefined);
  world.targets.failed(A, PROHIBITED);
  assert.equal(world.targets.known(A)?.reason, 'prohibited');
  assert.equal(world.targets.known(SAME_HOST), undefined);
  world.now += REFUSAL_MS - 1;
  assert.equal(world.targets.known(A)?.reason, 'prohibited');
  world.now += 1;
  assert.equal(world.targets.known(A), undefined, 'one open asks again');
  assert.equal(world.targets.known(A)?.reason, 'prohibited', 'and the others wait for its answer');
  world.now += REFUSAL_PROBE_MS;
  assert.equal(world.targets.known(A), undefined, 'an open that got lost does not block for ever');
  world.targets.failed(A, PROHIBITED);
  assert.equal(world.targets.known(A)?.reason, 'prohibited');
  world.targets.confirmed(A);
  assert.equal(world.targets.known(A), undefined);
  world.targets.failed(A, PROHIBITED);
  world.targets.failed(A, REFUSED);
  assert.equal(
    world.targets.known(A),
    undefined,
    'whoever was refused by the target was allowed by the server',
  );
  world.targets.failed(A, PROHIBITED);
  world.targets.clear();
  assert.equal(world.targets.known(A), undefined);
});

test('a target that answers nothing is given up, and looked after one open at a time', () => {
  const world = watched();
  for (let i = 1; i < BREAKER_UNANSWERED; i++) world.targets.abandoned(A, 30_000);
  assert.equal(world.targets.known(A), undefined);
  world.targets.abandoned(A, 20);
  assert.equal(world.targets.known(A), undefined, 'who gives up at once proves nothing');
  world.targets.abandoned(A, 30_000);
  assert.equal(world.targets.known(A)?.reason, 'host-unreachable');
  assert.equal(world.targets.known(SAME_HOST), undefined);
  world.now += BREAKER_PROBE_MS;
  assert.equal(world.targets.known(A), undefined, 'one looks');
  assert.equal(world.targets.known(A)?.reason, 'host-unreachable', 'and only one');
  world.targets.failed(A, TIMED_OUT);
  assert.equal(world.targets.known(A)?.reason, 'host-unreachable', "the server's own time-out is no answer");
  world.targets.failed(A, REFUSED);
  assert.equal(world.targets.known(A), undefined, 'a refusal is');
  for (let i = 0; i < BREAKER_UNANSWERED; i++) world.targets.abandoned(A, 30_000);
  assert.equal(world.targets.known(A)?.reason, 'host-unreachable');
  world.targets.confirmed(A);
  assert.equal(world.targets.known(A), undefined, 'however late');
});

test('answers in between keep a slow target open', () => {
  const world = watched();
  for (let i = 0; i < 50; i++) {
    world.targets.abandoned(A, 2_000);
    if (i % (BREAKER_UNANSWERED - 1) === 0) world.targets.confirmed(A);
    assert.equal(world.targets.known(A), undefined);
  }
});

test('what is remembered is bounded, and the oldest goes first', () => {
  const refusals = new Refusals(() => 0);
  const breaker = new Breaker(() => 0);
  for (let port = 0; port < 2 * REFUSALS_MAX; port++) refusals.refused({ address: '192.0.2.1', port });
  for (let port = 0; port < 2 * BREAKER_TARGETS_MAX; port++)
    for (let i = 0; i < BREAKER_UNANSWERED; i++) breaker.unanswered({ address: '192.0.2.1', port }, 5_000);
  assert.deepEqual([refusals.size, breaker.size], [REFUSALS_MAX, BREAKER_TARGETS_MAX]);
  const last = { address: '192.0.2.1', port: 2 * REFUSALS_MAX - 1 };
  for (const known of [refusals, breaker])
    assert.deepEqual([known.holds(A), known.holds(last)], [false, true]);
});

test('a server that forbids all it is asked for is told of once', () => {
  const world = watched();
  for (let port = 0; port < 3 * REFUSED_TARGETS_WARNING; port++)
    world.targets.failed({ address: '192.0.2.1', port }, PROHIBITED);
  assert.equal(world.warnings.length, 1);
  assert.match(world.warnings[0]!, /AllowTcpForwarding/);
  const permitting = watched();
  permitting.targets.confirmed(A);
  for (let port = 0; port < 3 * REFUSED_TARGETS_WARNING; port++)
    permitting.targets.failed({ address: '192.0.2.1', port }, PROHIBITED);
  assert.deepEqual(permitting.warnings, []);
});

test('words of a server that turned us away are told without control characters', () => {
  assert.equal(
    new TurnedAway(false, 'Exceeded MaxStartups\r\n\x1b[31m').message,
    'the bastion closed the connection before the login: Exceeded MaxStartups [31m',
  );
});

test('only a server that showed itself, or whatever has a code, is kept away from', () => {
  assert.equal(attemptFailure(new TurnedAway(false, 'Not allowed at this time\r\n')), 'turned-away');
  assert.equal(attemptFailure(new TurnedAway(true, '')), 'turned-away');
  assert.equal(attemptFailure(new NetproxyError('SSH_AUTH_REFUSED', 'no')), 'turned-away');
  assert.equal(attemptFailure(new TurnedAway(false, '')), 'absent', 'a relay with no server behind it');
  assert.equal(attemptFailure(new Error('connect ECONNREFUSED')), 'absent');
});
