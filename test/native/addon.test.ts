/** The addon's surface: argument checks, double close, nothing leaked. The devices are never brought up. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { once } from 'node:events';
import { after, test } from 'node:test';

import { loadNative, type NativeEngine } from '../../src/core/native.ts';
import { waitFor } from '../lab/namespaces.ts';

const native = loadNative();
let serial = 0;

function deviceName(): string {
  return `np${process.pid % 100_000}x${serial++ % 1000}`;
}

function openEngine(): NativeEngine {
  return new native.Engine(native.openTun(deviceName()).fd, 1500, () => {});
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

const shared = openEngine();
after(() => shared.close());

test('a TUN device is named as asked, and has segmentation offload here', () => {
  const name = deviceName();
  const device = native.openTun(name);
  const engine = new native.Engine(device.fd, 1500, () => {});
  assert.equal(device.name, name);
  assert.equal(device.segmentation, true);
  engine.close();
});

test('a device that is open already is EBUSY, and the message names the step', () => {
  const name = deviceName();
  const engine = new native.Engine(native.openTun(name).fd, 1500, () => {});
  assert.throws(
    () => native.openTun(name),
    (error: NodeJS.ErrnoException) => {
      assert.equal(error.code, 'EBUSY');
      assert.match(error.message, /TUNSETIFF/);
      return true;
    },
  );
  engine.close();
});

test('arguments of the wrong type or range are refused by name', () => {
  const call =
    (fn: unknown, ...args: unknown[]) =>
    () =>
      (fn as (...rest: unknown[]) => unknown)(...args);
  assert.throws(call(native.openTun, 7), /name must be a string/);
  assert.throws(call(native.openTun, 'a'.repeat(64)), { code: 'ENAMETOOLONG' });
  assert.throws(call(native.connectTcp, '127.0.0.1', 0, 0, 0), /port must be from 1 to 65535/);
  assert.throws(call(native.connectTcp, 'not an address', 22, 0, 0), { code: 'EINVAL' });
  assert.throws(call(native.connectTcp, 22, 22, 0, 0), /address must be a string/);
  assert.throws(call(native.openUdp, 5, 0), /family must be 4 or 6/);
  const Engine = native.Engine as unknown as new (...args: unknown[]) => unknown;
  assert.throws(() => new Engine('fd', 1500, () => {}), /fd must be a number/);
  assert.throws(() => new Engine(0, 100, () => {}), /mtu must be from 1280/);
  assert.throws(() => new Engine(0, 1500, undefined), /onEvents must be a function/);
  assert.throws(() => shared.reject(1, 9), /reason must be from 0 to 3/);
  assert.throws(() => shared.write(1, 'text' as unknown as Uint8Array), /chunk must be a Uint8Array/);
  assert.throws(() => shared.answer(new Uint8Array(47), new Uint8Array(1)), /header must be a datagram's/);
  assert.throws(() => shared.refuse(new Uint8Array(48), 0), /header must be a datagram's/);
  const header = Uint8Array.from({ length: 48 }, (_, at) => (at === 4 ? 1 : at === 5 ? 4 : 0));
  assert.throws(() => shared.refuse(header, 5), /reason must be from 0 to 4/);
  assert.throws(() => shared.take('one' as unknown as number, 1), /flow must be a number/);
});

test('numbers of flows that do not exist are ignored', () => {
  for (const flow of [0, 1, 0xffff_ffff]) {
    shared.accept(flow);
    shared.reject(flow, 0);
    shared.abort(flow);
    shared.end(flow);
    assert.equal(shared.write(flow, new Uint8Array(10)), 0);
    assert.equal(shared.take(flow, 10), 0);
    assert.equal(shared.taken(flow, 10), false);
    assert.equal(shared.ended(flow), false);
  }
  assert.equal(shared.counters()['flows'], 0);
});

test('a closed engine may be closed again and ignores every call', () => {
  const engine = openEngine();
  engine.close();
  engine.close();
  engine.accept(1);
  assert.equal(engine.poll(), 0);
  assert.equal(engine.datagrams(), 0);
  assert.equal(engine.write(1, new Uint8Array(1)), 0);
  assert.equal(engine.take(1, 1), 0);
  assert.equal(engine.memory.byteLength > 0, true);
});

test('a hundred engines leave no descriptor and no thread behind', async () => {
  const descriptors = openDescriptors();
  const threads = readdirSync('/proc/self/task').length;
  for (let i = 0; i < 100; i++) openEngine().close();
  assert.equal(openDescriptors(), descriptors);
  // A thread that has been joined may be listed for a moment.
  await waitFor('the last thread to be gone', () => readdirSync('/proc/self/task').length <= threads);
});

test('a marked connect works on a socket that Node takes over, and a refused one fails there', async () => {
  const server = net.createServer((socket) => socket.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const socket = new net.Socket({ fd: native.connectTcp('127.0.0.1', port, 0x6e70, 1000), readable: true });
  const [data] = (await once(socket, 'data')) as [Buffer];
  assert.equal(data.toString(), 'hello');
  socket.destroy();
  server.close();
  await once(server, 'close');
  const refused = new net.Socket({ fd: native.connectTcp('127.0.0.1', port, 0, 0), readable: true });
  refused.resume();
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
});

test('a socket pair carries bytes both ways, and its ends are closed by their sockets', async () => {
  const before = openDescriptors();
  const [left, right] = native
    .socketPair()
    .map((fd) => new net.Socket({ fd, readable: true, writable: true }));
  left!.write('from the left');
  right!.write('from the right');
  const [[atRight], [atLeft]] = await Promise.all([once(right!, 'data'), once(left!, 'data')]);
  assert.deepEqual([String(atRight), String(atLeft)], ['from the left', 'from the right']);
  const closed = once(right!.resume(), 'close');
  left!.destroy();
  await closed;
  assert.equal(openDescriptors(), before);
});
