/** Datagram sockets of netproxy's own, without a mark, on this machine: their limit, their errors, bad arguments. */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { closeSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import type { DatagramReceiver, EchoRequest, UdpFlow } from '../../src/core/datagram.ts';
import type { Endpoint, RejectReason } from '../../src/core/flow.ts';
import { DIRECT_FLOWS_MAX, DIRECT_PINGS_MAX } from '../../src/core/limits.ts';
import { loadNative } from '../../src/core/native.ts';
import { OwnSockets } from '../../src/core/own-sockets.ts';
import { DirectPing } from '../../src/direct/ping.ts';
import { DirectUdp } from '../../src/direct/udp.ts';
import { waitFor } from '../lab/namespaces.ts';

const native = loadNative();
const means = { native, mark: 0, own: new OwnSockets() };

let server: dgram.Socket;
let at: Endpoint;
const ports = new Set<number>();
before(async () => {
  server = dgram.createSocket('udp4', (payload, from) => {
    ports.add(from.port);
    server.send(payload, from.port, from.address);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  at = { address: '127.0.0.1', port: server.address().port };
});
/** Flows of all tests: what a test that fails leaves open would keep the process from its end. */
const flows: Flow[] = [];
after(() => {
  for (const flow of flows) flow.receiver.closed();
  server.close();
});

class Flow implements UdpFlow {
  readonly tuple: UdpFlow['tuple'];
  readonly sent = { datagrams: 0, bytes: 0 };
  readonly received = { datagrams: 0, bytes: 0 };
  readonly refusals: (RejectReason | undefined)[] = [];
  readonly mtus: number[] = [];
  readonly receiver: DatagramReceiver;

  constructor(direct: DirectUdp, destination: Endpoint) {
    const source = { address: '198.18.0.1', port: 40_000 };
    const family = destination.address.includes(':') ? 6 : 4;
    this.tuple = { protocol: 'udp', family, source, destination };
    this.receiver = direct.open(this);
    flows.push(this);
  }

  say(payload: Uint8Array = Buffer.from('x'), whole = false): void {
    const { family, source, destination } = this.tuple;
    this.receiver.accept({
      ...{ protocol: 'udp', family, source, destination, whole, payload },
      ...{ answer() {}, refuse() {}, tooBig() {} },
    });
  }

  async echo(): Promise<void> {
    const before = this.received.datagrams;
    this.say();
    await waitFor('the echo', () => this.received.datagrams > before);
  }

  send(): void {
    this.received.datagrams++;
  }

  refuse(reason?: RejectReason): void {
    this.refusals.push(reason);
  }

  tooBig(mtu: number): void {
    this.mtus.push(mtu);
  }
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

test('sockets of direct flows are bounded: the one used longest ago gives way, and its flow gets a new one', async () => {
  const before = descriptors();
  const direct = new DirectUdp(means);
  const beyond = 8;
  const all = Array.from({ length: DIRECT_FLOWS_MAX + beyond }, () => new Flow(direct, at));
  // The second was used later than those after it.
  const batch = 64;
  for (let first = 0; first < DIRECT_FLOWS_MAX; first += batch)
    await Promise.all(all.slice(first, first + batch).map((flow) => flow.echo()));
  assert.equal(ports.size, DIRECT_FLOWS_MAX, 'each has a port of its own');
  await all[1]!.echo();
  await Promise.all(all.slice(DIRECT_FLOWS_MAX).map((flow) => flow.echo()));
  assert.deepEqual(direct.counters, { sockets: DIRECT_FLOWS_MAX, evicted: beyond });
  assert.ok(descriptors() - before <= DIRECT_FLOWS_MAX + 8, `${descriptors() - before} descriptors`);
  await all[1]!.echo();
  assert.equal(direct.counters.evicted, beyond, 'the second kept its socket');
  await all[0]!.echo();
  assert.deepEqual(direct.counters, { sockets: DIRECT_FLOWS_MAX, evicted: beyond + 1 });
  for (const flow of all) flow.receiver.closed();
  assert.equal(direct.counters.sockets, 0);
  await waitFor('the end of all', () => descriptors() <= before + 1);
});

for (const address of ['127.0.0.1', '::1']) {
  test(`a refused port and a datagram too big for any path are told, and the socket goes on (${address})`, async () => {
    const closed = dgram.createSocket(address === '::1' ? 'udp6' : 'udp4');
    closed.bind(0, address);
    await once(closed, 'listening');
    const { port } = closed.address();
    await new Promise<void>((resolve) => closed.close(() => resolve()));
    const direct = new DirectUdp(means);
    const flow = new Flow(direct, { address, port });
    for (let count = 1; count <= 3; count++) {
      flow.say();
      await waitFor('the refusal', () => flow.refusals.length >= count);
    }
    assert.deepEqual(new Set(flow.refusals), new Set(['refused']));
    // Of loopback the MTU is 65,536, and no datagram is larger with its headers.
    flow.say(Buffer.alloc(65_535 - 8), true);
    await waitFor('the MTU', () => flow.mtus.length > 0);
    assert.ok(flow.mtus[0]! >= 65_535, String(flow.mtus[0]));
    assert.equal(direct.counters.sockets, 1);
    flow.receiver.closed();
  });
}

test('pings go as they are where the kernel allows it, with a bounded number of sockets', async (t) => {
  const otherwise: EchoRequest[] = [];
  const lines: string[] = [];
  const add = (_fields: object, message: string): void => void lines.push(message);
  const log = { debug: add, info: add, warn: add, error: add };
  const direct = new DirectPing({
    ...{ ...means, log, now: () => performance.now() },
    otherwise: (request) => void otherwise.push(request),
  });
  t.after(() => direct.close());
  const ping = (identifier: number, address: string): string[] => {
    const told: string[] = [];
    const family = address.includes(':') ? 6 : 4;
    direct.accept({
      ...{ protocol: 'echo', family, whole: true, identifier, source: '198.18.0.1', destination: address },
      payload: Buffer.from(`ping ${identifier}`),
      answer: (payload) => void told.push(Buffer.from(payload).toString()),
      refuse: (reason) => void told.push(String(reason)),
      tooBig: (mtu) => void told.push(`too big ${mtu}`),
    });
    return told;
  };
  for (const address of ['127.0.0.1', '::1']) {
    const told = ping(1, address);
    await waitFor('an answer', () => told.length + otherwise.length > 0);
    if (otherwise.length === 0) assert.deepEqual(told, ['ping 1']);
  }
  for (let identifier = 2; identifier < DIRECT_PINGS_MAX + 20; identifier++) ping(identifier, '127.0.0.1');
  assert.ok(direct.sockets <= DIRECT_PINGS_MAX);
  if (otherwise.length > 0) {
    assert.equal(direct.sockets, 0);
    assert.equal(lines.length, 1, 'told once');
  } else {
    assert.equal(direct.sockets, DIRECT_PINGS_MAX);
  }
});

test('arguments that make no sense are refused by name, and a descriptor that is none harms nobody', () => {
  const call =
    (of: (...args: never[]) => unknown, ...args: unknown[]): (() => unknown) =>
    () =>
      of(...(args as never[]));
  assert.throws(call(native.openDatagram, 'tcp', 4, 0), /kind must be/);
  assert.throws(call(native.openDatagram, 'udp', 5, 0), /family must be 4 or 6/);
  assert.throws(call(native.openDatagram, 'udp', 4, 'x'), /mark must be a number/);
  assert.throws(call(native.keepWhole, 0, 1), /whole must be a boolean/);
  assert.throws(call(native.keepWhole, 2 ** 31, true), /fd must be a descriptor/);
  assert.throws(call(native.keepWhole, 2 ** 30, true), { code: 'EBADF' });
  assert.throws(call(native.drainErrors, 'x'), /fd must be a number/);
  assert.equal(native.drainErrors(2 ** 30), 0);
  const fd = native.openDatagram('udp', 6, 0);
  assert.equal(native.drainErrors(fd), 0, 'connected to nothing');
  closeSync(fd);
});
