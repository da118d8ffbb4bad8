/** Where a ping goes by the rules. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EchoRequest } from '../../src/core/datagram.ts';
import { ECHO_WAIT_MS, ECHOES_WAITING_MAX } from '../../src/core/limits.ts';
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
    log,
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
