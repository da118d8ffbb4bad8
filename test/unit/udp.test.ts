import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import type { DatagramCarrier, UdpDatagram, UdpFlow } from '../../src/core/datagram.ts';
import type { FlowTuple } from '../../src/core/flow.ts';
import { FlowTable } from '../../src/core/flow-table.ts';
import { UDP_FLOWS_MAX, UDP_IDLE_MS, UDP_SWEEP_MS, UDP_UNANSWERED_IDLE_MS } from '../../src/core/limits.ts';
import { UdpForwarder } from '../../src/forward/udp.ts';
import { defaultPolicy } from '../../src/policy/policy.ts';
import type { Verdict } from '../../src/policy/policy.ts';

class Sent implements UdpDatagram {
  readonly protocol = 'udp';
  readonly family = 4;
  readonly whole = true;
  readonly source: { address: string; port: number };
  readonly destination: { address: string; port: number };
  readonly payload = Buffer.from('question');
  answers = 0;
  refusals = 0;

  constructor(from: number, to: number, address = '192.0.2.1') {
    this.source = { address: '10.0.0.1', port: from };
    this.destination = { address, port: to };
  }
  answer(): void {
    this.answers++;
  }
  refuse(): void {
    this.refusals++;
  }
  tooBig(): void {}
}

/** Keeps what it is given. */
class Keeper implements DatagramCarrier {
  readonly flows: UdpFlow[] = [];
  readonly got: UdpDatagram[] = [];
  closed = 0;
  open(flow: UdpFlow): { accept(datagram: UdpDatagram): void; closed(): void } {
    this.flows.push(flow);
    return { accept: (datagram) => this.got.push(datagram), closed: () => this.closed++ };
  }
}

function forwarder(): { udp: UdpForwarder; dns: Keeper; asked: FlowTuple[]; clock: { now: number } } {
  const dns = new Keeper();
  const asked: FlowTuple[] = [];
  const clock = { now: 0 };
  const inner = defaultPolicy('main');
  const policy = {
    decide(tuple: FlowTuple): Verdict {
      asked.push(tuple);
      return inner.decide(tuple);
    },
  };
  return {
    udp: new UdpForwarder({ policy, carriers: { dns }, flows: new FlowTable(), now: () => clock.now }),
    dns,
    asked,
    clock,
  };
}

test('the policy is asked once for a flow; its datagrams go to the carrier of the verdict', () => {
  const { udp, dns, asked } = forwarder();
  for (let i = 0; i < 3; i++) udp.accept(new Sent(1000, 53));
  udp.accept(new Sent(1001, 53));
  assert.equal(asked.length, 2);
  assert.equal(asked[0]?.protocol, 'udp');
  assert.equal(dns.got.length, 4);
  dns.flows[0]!.send(Buffer.from('answer'));
  assert.deepEqual(dns.flows[0]!.sent, { datagrams: 3, bytes: 24 });
  assert.deepEqual(dns.flows[0]!.received, { datagrams: 1, bytes: 6 });
  assert.equal((dns.got[2] as Sent).answers, 1);
  udp.close();
  assert.equal(dns.closed, 2);
});

test('every datagram of a flow that is not carried is refused, and the policy asked once', () => {
  const { udp, asked } = forwarder();
  const sent = [new Sent(5, 443), new Sent(5, 443), new Sent(5, 53, '169.254.169.254')];
  for (const each of sent) udp.accept(each);
  assert.deepEqual(
    sent.map(({ refusals }) => refusals),
    [1, 1, 1],
  );
  assert.equal(asked.length, 2);
  assert.equal(udp.counters.refused, 2);
  udp.close();
});

test('the flow used longest ago gives way when there is no room', () => {
  const { udp, dns } = forwarder();
  for (let port = 0; port < UDP_FLOWS_MAX; port++) udp.accept(new Sent(port, 53));
  udp.accept(new Sent(0, 53));
  udp.accept(new Sent(65_000, 53));
  assert.equal(udp.counters.flows, UDP_FLOWS_MAX);
  assert.equal(udp.counters.evicted, 1);
  assert.equal(dns.closed, 1);
  udp.accept(new Sent(0, 53));
  assert.equal(udp.counters.opened, UDP_FLOWS_MAX + 1, 'the first was used since, and is still there');
  udp.close();
});

test('an idle flow is forgotten, an unanswered one sooner', () => {
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    const { udp, dns, clock } = forwarder();
    udp.accept(new Sent(1, 53));
    udp.accept(new Sent(2, 53));
    dns.flows[1]!.send(Buffer.alloc(1));
    clock.now = UDP_UNANSWERED_IDLE_MS;
    mock.timers.tick(UDP_SWEEP_MS);
    assert.equal(udp.counters.flows, 1);
    clock.now = UDP_IDLE_MS;
    mock.timers.tick(UDP_SWEEP_MS);
    assert.equal(udp.counters.flows, 0);
    assert.equal(dns.closed, 2);
  } finally {
    mock.timers.reset();
  }
});

test('a flow shows the bastion that carries it, and the last one when that is gone', () => {
  const flows = new FlowTable();
  let bastion: string | undefined;
  const carrier: DatagramCarrier = {
    open: () => ({
      get bastion() {
        return bastion;
      },
      accept() {},
      closed() {},
    }),
  };
  const policy = {
    decide: (): Verdict => ({
      ...{ kind: 'relay', upstream: 'group', why: '' },
      rule: { text: 'via relay', where: 'x:1' },
    }),
  };
  const udp = new UdpForwarder({ policy, carriers: { relay: carrier }, flows, now: () => 0 });
  udp.accept(new Sent(1, 9));
  const shown = (): string | undefined => [...flows.entries()][0]?.flow.bastion;
  assert.equal(shown(), undefined);
  bastion = 'one';
  assert.equal(shown(), 'one');
  bastion = undefined;
  assert.equal(shown(), 'one');
  bastion = 'two';
  assert.equal(shown(), 'two');
  udp.close();
});
