/** What a ping is told, and how many connects pings may cost. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import type { EchoRequest } from '../../src/core/datagram.ts';
import type { Channel, DialHandlers, Dialer } from '../../src/core/dialer.ts';
import {
  PING_PROBE_DEADLINE_MS,
  PING_PROBES_MAX,
  PING_VERDICT_MS,
  PING_WAITING_MAX,
} from '../../src/core/limits.ts';
import { Ping } from '../../src/forward/ping.ts';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => mock.timers.reset());

class FakeDialer implements Dialer {
  readonly dials: DialHandlers[] = [];
  cancelled = 0;
  dial(_target: unknown, _origin: unknown, handlers: DialHandlers): { cancel(): void } {
    this.dials.push(handlers);
    return { cancel: () => void this.cancelled++ };
  }
}

const channel: Channel = { start() {}, sourceReady() {}, sinkDrained() {}, abort() {} };

/** Sends a ping; tells what became of it. */
function send(ping: Ping, destination: string, upstream?: string): { fate: string } {
  const told = { fate: 'waits' };
  const request: EchoRequest = {
    protocol: 'echo',
    family: 4,
    whole: false,
    payload: new Uint8Array(8),
    source: '198.18.0.1',
    destination,
    identifier: 1,
    tooBig() {},
    answer: () => (told.fate = 'answered'),
    refuse: (reason = 'host-unreachable') => (told.fate = reason.replace('host-', '')),
  };
  ping.accept(request, upstream);
  return told;
}

test('a host that accepts or refuses a connect is there, any other is not', () => {
  const dialer = new FakeDialer();
  const ping = new Ping(() => dialer);
  const told = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map((host) => send(ping, host));
  dialer.dials[0]!.opened(channel);
  dialer.dials[1]!.failed({ reason: 'refused', message: '' });
  dialer.dials[2]!.failed({ reason: 'host-unreachable', message: '' });
  assert.deepEqual(
    told.map(({ fate }) => fate),
    ['answered', 'answered', 'unreachable'],
  );
});

test('pings of one host share a connect, and its verdict for a while', () => {
  const dialer = new FakeDialer();
  const ping = new Ping(() => dialer);
  const told = Array.from({ length: PING_WAITING_MAX + 1 }, () => send(ping, '192.0.2.1'));
  assert.equal(dialer.dials.length, 1);
  dialer.dials[0]!.opened(channel);
  assert.equal(told.filter(({ fate }) => fate === 'answered').length, PING_WAITING_MAX);
  assert.equal(send(ping, '192.0.2.1').fate, 'answered');
  mock.timers.tick(PING_VERDICT_MS);
  assert.equal(send(ping, '192.0.2.1').fate, 'waits');
  assert.equal(dialer.dials.length, 2);
});

test('a black hole is told in time, and its connect given up', () => {
  const dialer = new FakeDialer();
  const ping = new Ping(() => dialer);
  const told = send(ping, '192.0.2.1');
  mock.timers.tick(PING_PROBE_DEADLINE_MS);
  assert.equal(told.fate, 'unreachable');
  assert.equal(dialer.cancelled, 1);
});

test('a sweep of a network costs a bounded number of connects at once', () => {
  const dialer = new FakeDialer();
  const ping = new Ping(() => dialer);
  for (let i = 1; i < 255; i++) send(ping, `192.0.2.${i}`);
  assert.equal(dialer.dials.length, PING_PROBES_MAX);
  mock.timers.tick(PING_PROBE_DEADLINE_MS);
  send(ping, '192.0.3.1');
  assert.equal(dialer.dials.length, PING_PROBES_MAX + 1);
});

test('what one upstream says of a host is nothing that another one said, and an upstream that is gone says no', () => {
  const dialers: Record<string, FakeDialer> = {
    a: new FakeDialer(),
    b: new FakeDialer(),
    '': new FakeDialer(),
  };
  const ping = new Ping((upstream = '') => dialers[upstream]);
  const told = [undefined, 'a', 'b', 'c'].map((upstream) => send(ping, '192.0.2.1', upstream));
  dialers['']!.dials[0]!.opened(channel);
  dialers['a']!.dials[0]!.failed({ reason: 'refused', message: '' });
  dialers['b']!.dials[0]!.failed({ reason: 'prohibited', message: '' });
  assert.deepEqual(
    told.map(({ fate }) => fate),
    ['answered', 'answered', 'unreachable', 'network-unreachable'],
  );
});
