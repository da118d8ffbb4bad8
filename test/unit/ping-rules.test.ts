/** Where a ping goes by the rules. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import type { EchoRequest } from '../../src/core/datagram.ts';
import { FlowTable } from '../../src/core/flow-table.ts';
import type { EndedFlow } from '../../src/core/flow-table.ts';
import {
  ECHO_WAIT_MS,
  ECHOES_WAITING_MAX,
  PING_FLOW_IDLE_MS,
  PING_FLOWS_MAX,
  UDP_SWEEP_MS,
} from '../../src/core/limits.ts';
import { WaitingEchoes } from '../../src/core/waiting-echoes.ts';
import { PingForwarder } from '../../src/forward/pings.ts';
import { kernelRules } from '../../src/policy/kernel.ts';
import { rulesPolicy } from '../../src/policy/policy.ts';
import { parseVia } from '../../src/policy/rule.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { shadowedRules } from '../../src/policy/shadow.ts';

type Given = Partial<Omit<Rule, 'via'>> & { readonly via: string };

function rulesOf(...given: readonly Given[]): Rule[] {
  return given.map((each, index) => ({
    ...{ to: [], ports: [], protocol: undefined, names: [], uid: [], gid: [], process: [] },
    ...{ container: [], cgroup: [], where: `f:${index}` },
    ...each,
    via: parseVia(each.via)!,
  }));
}

/** A ping, and what it is told. */
function ping(destination: string): EchoRequest & { readonly told: string[] } {
  const told: string[] = [];
  return {
    ...{
      protocol: 'echo',
      family: destination.includes(':') ? 6 : 4,
      whole: false,
      identifier: 5,
      destination,
    },
    ...{ source: '198.18.0.1', payload: Buffer.from('there?'), told },
    answer: (payload) => void told.push(`answer ${Buffer.from(payload).toString()}`),
    refuse: (reason) => void told.push(`refuse ${reason}`),
    tooBig: (mtu) => void told.push(`too big ${mtu}`),
  };
}

const log = { debug() {}, info() {}, warn() {}, error() {} };

/** What becomes of a ping there. */
function fate(rules: readonly Rule[], destination = '192.0.2.1'): string {
  const ways: string[] = [];
  const forwarder = new PingForwarder({
    policy: rulesPolicy(rules, 'last'),
    relay: { ping: (_request, upstream) => void ways.push(`relay ${upstream}`) },
    direct: { accept: () => void ways.push('direct') },
    probe: { accept: (_request, upstream) => void ways.push(`probe ${upstream}`) },
    ...{ log, flows: new FlowTable(), now: () => 0 },
  });
  const request = ping(destination);
  forwarder.accept(request);
  return [...ways, ...request.told].join(', ');
}

test('the verdict of the first rule that matches is carried out', () => {
  const icmp = (via: string): readonly Rule[] => rulesOf({ protocol: 'icmp', via });
  assert.equal(fate([]), 'probe last');
  assert.equal(fate(icmp('main')), 'probe main');
  assert.equal(fate(icmp('relay')), 'relay last');
  assert.equal(fate(icmp('relay:main')), 'relay main');
  assert.equal(fate(icmp('direct')), 'direct');
  assert.equal(fate(icmp('drop')), '');
  assert.equal(fate(icmp('reject')), 'refuse prohibited');
  assert.equal(fate(icmp('reject:network-unreachable')), 'refuse network-unreachable');
  assert.equal(fate(icmp('direct'), '169.254.169.254'), 'refuse network-unreachable');
});

test('rules for other protocols, ports and owners do not speak of pings; those that ask for neither do', () => {
  const rules = rulesOf(
    { protocol: 'tcp', via: 'drop' },
    { protocol: 'udp', via: 'relay' },
    { ports: [{ first: 1, last: 65_535 }], via: 'drop' },
    { uid: [0], via: 'drop' },
    { to: ['192.0.2.0/24'], via: 'direct' },
    { via: 'reject:host-unreachable' },
  );
  assert.equal(fate(rules), 'direct');
  assert.equal(fate(rules, '2001:db8::1'), 'refuse host-unreachable');
});

test('a rule for pings leads nothing else into the TUN, and is not taken for one that others make useless', () => {
  const rules = rulesOf(
    { ports: [{ first: 1, last: 65_535 }], via: 'main' },
    { protocol: 'icmp', to: ['10.0.0.0/8'], via: 'relay' },
    { to: ['10.1.0.0/16'], via: 'direct' },
  );
  assert.deepEqual(kernelRules(rules.slice(1)), { direct: [], captured: [] });
  assert.deepEqual(shadowedRules(rules), []);
  assert.deepEqual(shadowedRules(rulesOf({ via: 'drop' }, { protocol: 'icmp', via: 'relay' })), [
    { index: 1, by: [0] },
  ]);
});

/** Pings by a forwarder whose way answers each at once. */
function shown(rules: () => readonly Rule[] = () => []): {
  forwarder: PingForwarder;
  flows: FlowTable;
  ended: EndedFlow[];
  clock: { now: number };
} {
  const ended: EndedFlow[] = [];
  const clock = { now: 0 };
  const now = (): number => clock.now;
  const flows = new FlowTable({
    ...{ now, nameOf: () => undefined, ownerOf: () => undefined },
    ended: (flow) => void ended.push(flow),
  });
  const answer = (request: EchoRequest): void => request.answer(Buffer.from('pong'));
  const forwarder = new PingForwarder({
    policy: { decide: (flow) => rulesPolicy(rules(), 'last').decide(flow) },
    ...{ relay: { ping: answer }, direct: { accept: answer }, probe: { accept: answer } },
    ...{ log, flows, now },
  });
  return { forwarder, flows, ended, clock };
}

test('pings of one socket to one host are a flow, with bytes both ways, until none comes', () => {
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    const { forwarder, flows, ended, clock } = shown();
    const first = ping('192.0.2.1');
    forwarder.accept(first);
    clock.now = PING_FLOW_IDLE_MS - 1;
    forwarder.accept(ping('192.0.2.1'));
    forwarder.accept(ping('192.0.2.2'));
    assert.deepEqual(first.told, ['answer pong']);
    const entries = [...flows.entries()];
    assert.deepEqual(
      entries.map(({ flow }) => [flow.tuple.destination.address, flow.state, flow.bytesOut, flow.bytesIn]),
      [
        ['192.0.2.1', 'open', 12, 8],
        ['192.0.2.2', 'open', 6, 4],
      ],
    );
    entries[1]!.flow.kill();
    clock.now = PING_FLOW_IDLE_MS;
    mock.timers.tick(UDP_SWEEP_MS);
    assert.equal(flows.size, 1, 'it was used a moment ago');
    clock.now = 2 * PING_FLOW_IDLE_MS;
    mock.timers.tick(UDP_SWEEP_MS);
    assert.deepEqual(
      ended.map(({ result, flow }) => [result, flow.tuple.protocol, flow.bytesIn]),
      [
        ['killed', 'icmp', 4],
        ['idle', 'icmp', 8],
      ],
    );
    forwarder.close();
  } finally {
    mock.timers.reset();
  }
});

test('flows of pings are bounded, follow the rules, and none stands for a ping that is refused', () => {
  let via = 'main';
  const { forwarder, flows, ended } = shown(() => rulesOf({ protocol: 'icmp', via }));
  for (let at = 0; at <= PING_FLOWS_MAX; at++) {
    const request = ping(`192.0.${at >> 8}.${at & 255}`);
    forwarder.accept(request);
    assert.deepEqual(request.told, ['answer pong']);
  }
  assert.equal(flows.size, PING_FLOWS_MAX);
  via = 'direct';
  forwarder.accept(ping('192.0.0.1'));
  assert.deepEqual(
    [flows.size, ended.length, [...flows.entries()].at(-1)?.flow.decision.kind],
    [PING_FLOWS_MAX, 1, 'direct'],
  );
  via = 'reject';
  forwarder.accept(ping('203.0.113.1'));
  forwarder.close();
  assert.equal(flows.size, 0);
  assert.ok(ended.slice(1).every(({ result }) => result === 'aborted'));
});

test('pings that wait are bounded, answered once, and given up after a while', () => {
  const waiting = new WaitingEchoes();
  const requests = Array.from({ length: ECHOES_WAITING_MAX + 1 }, () => ping('192.0.2.1'));
  const numbers = requests.map((request) => waiting.add(request, 0));
  assert.equal(new Set(numbers).size, numbers.length);
  for (const number of numbers) waiting.answer(number, Buffer.from('yes'));
  waiting.answer(numbers[1]!, Buffer.from('again'));
  assert.deepEqual(
    requests.map(({ told }) => told.length),
    [0, ...Array.from({ length: ECHOES_WAITING_MAX }, () => 1)],
  );
  waiting.add(ping('192.0.2.1'), 1);
  assert.equal(waiting.idle(ECHO_WAIT_MS), false);
  assert.equal(waiting.idle(1 + ECHO_WAIT_MS), true);
  assert.deepEqual(waiting.release(), []);
});
