/** Whose a socket is: asked of the kernel and of /proc, about real sockets. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { FlowTuple } from '../../src/core/flow.ts';
import type { Log } from '../../src/core/log.ts';
import { loadNative } from '../../src/core/native.ts';
import { ControlGroups } from '../../src/owner/control-groups.ts';
import { SocketOwners } from '../../src/owner/owners.ts';
import { containerOf, controlGroupOf } from '../../src/owner/processes.ts';

const native = loadNative();
const told: string[] = [];
const log: Log = { debug() {}, info() {}, warn: (_, message) => void told.push(message), error() {} };
const owners = new SocketOwners({ native, device: 'lo', log });

function tupleOf(
  protocol: 'tcp' | 'udp',
  source: { address: string; port: number },
  address: string,
  port: number,
): FlowTuple {
  return { protocol, family: address.includes(':') ? 6 : 4, source, destination: { address, port } };
}

async function listening(address: string): Promise<{ server: net.Server; port: number }> {
  const server = net.createServer().listen(0, address);
  await once(server, 'listening');
  return { server, port: (server.address() as net.AddressInfo).port };
}

for (const address of ['127.0.0.1', '::1']) {
  test(`the owner of a TCP connection of a process of another user is found (${address})`, async (t) => {
    const { server, port } = await listening(address);
    t.after(() => server.close());
    const script = `const s = require('net').connect(${port}, '${address}', () => console.log(s.localPort)); process.title = 'netproxy-owner';`;
    const child = spawn(process.execPath, ['-e', script], {
      ...{ uid: 4711, gid: 4712, cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] },
    });
    t.after(() => child.kill('SIGKILL'));
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    const tuple = tupleOf('tcp', { address, port: Number(line) }, address, port);
    assert.deepEqual(owners.shown(tuple), { uid: 4711, pid: undefined, process: undefined });
    const owner = owners.ownerOf(tuple);
    assert.ok(owner !== undefined);
    assert.equal(owners.shown(tuple)?.pid, undefined, 'nobody has asked for it');
    assert.deepEqual([owner.uid, owner.pid, owner.gid], [4711, child.pid, 4712]);
    assert.equal(owners.shown(tuple)?.pid, child.pid);
    assert.ok(owner.process?.includes('netproxy-owner') === true && owner.process.includes('node'));
    assert.equal(
      owner.cgroup,
      owners.ownerOf(tupleOf('tcp', { address, port: Number(line) }, address, port))!.cgroup,
    );
    // A listener takes any sender, but has opened nothing.
    assert.equal(owners.ownerOf(tupleOf('tcp', { address, port }, address, 1)), undefined);
  });
}

test('the owner of a UDP socket is found, connected or not, of both families', async () => {
  for (const type of ['udp4', 'udp6'] as const) {
    const socket = createSocket(type).bind(0);
    await once(socket, 'listening');
    const own = type === 'udp4' ? '127.0.0.1' : '::1';
    const far = type === 'udp4' ? '192.0.2.1' : '2001:db8::1';
    const owner = owners.ownerOf(tupleOf('udp', { address: own, port: socket.address().port }, far, 123));
    assert.deepEqual([owner?.uid, owner?.pid], [process.getuid?.(), process.pid]);
    socket.close();
  }
});

test('a socket that nobody has is told so, and a process that is not found is told once', () => {
  assert.equal(owners.ownerOf(tupleOf('tcp', { address: '127.0.0.1', port: 1 }, '127.0.0.1', 1)), undefined);
  assert.equal(owners.ownerOf(tupleOf('udp', { address: '127.0.0.1', port: 1 }, '127.0.0.1', 1)), undefined);
  assert.equal(native.socketHolder(1, [], 1_000_000).pid, 0);
  for (let round = 0; round < 2; round++) assert.equal(owners.holderOf(1), undefined);
  assert.equal(told.length, 1);
  // The search ends at its limit.
  assert.equal(native.socketHolder(1, [process.pid], 0).pid, 0);
});

test('arguments that make no sense are refused by name', () => {
  const ask =
    (...args: unknown[]): (() => unknown) =>
    () =>
      (native.socketOwner as (...rest: unknown[]) => unknown)(...args);
  assert.throws(ask(1, '127.0.0.1', 1, '127.0.0.1', 1, ''), /protocol must be 6 or 17/);
  assert.throws(ask(6, '127.0.0.1', 70_000, '127.0.0.1', 1, ''), /sourcePort must be/);
  assert.throws(ask(6, '127.0.0.1', 1, '::1', 1, ''), { code: 'EINVAL' });
  assert.throws(ask(6, 'x', 1, '::1', 1, ''), { code: 'EINVAL' });
  assert.throws(ask(6, 7, 1, '::1', 1, ''), /source must be a string/);
});

test('the control group and the container of a process, by its lines of /proc', () => {
  const id = 'a'.repeat(32) + 'b1'.repeat(16);
  const found = (text: string): (string | undefined)[] => {
    const path = controlGroupOf(text);
    return [path, path === undefined ? undefined : containerOf(path)];
  };
  const docker = `/system.slice/docker-${id}.scope`;
  assert.deepEqual(found(`0::${docker}\n`), [docker, id]);
  assert.deepEqual(found(`12:cpu:/\n4:memory:/docker/${id}\n0::/\n`), [`/docker/${id}`, id]);
  const pod = `/kubepods.slice/kubepods-podaa.slice/cri-containerd-${id}.scope/init`;
  assert.deepEqual(found(`0::${pod}\n`), [pod, id]);
  assert.deepEqual(found('0::/../other\n'), ['/../other', undefined]);
  assert.deepEqual(found('0::/\n'), ['/', undefined]);
  assert.deepEqual(found(''), [undefined, undefined]);
  assert.equal(containerOf(`/docker/${id}0`), undefined);
});

test('a control group is found by its number, also when another has come in its place', () => {
  const root = mkdtempSync(join(tmpdir(), 'netproxy-groups-'));
  try {
    mkdirSync(join(root, 'a/b'), { recursive: true });
    mkdirSync(join(root, 'c'));
    const groups = new ControlGroups(`31 23 0:28 / ${root} rw,nosuid shared:9 - cgroup2 cgroup rw\n`);
    const inode = (path: string): bigint => statSync(join(root, path), { bigint: true }).ino;
    const b = inode('a/b');
    assert.equal(groups.pathOf(b), '/a/b');
    assert.equal(groups.pathOf(inode('')), '/');
    rmdirSync(join(root, 'a/b'));
    assert.equal(groups.pathOf(b), undefined);
    assert.equal(groups.pathOf(inode('c')), '/c');
    assert.equal(groups.pathOf(0n), undefined);
    assert.equal(new ControlGroups('').pathOf(b), undefined);
  } finally {
    rmSync(root, { recursive: true });
  }
});
