import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChannelEnd } from '../../src/core/dialer.ts';
import { loadNative } from '../../src/core/native.ts';
import type { Bastion } from '../../src/ssh/bastion.ts';
import type { SocketFactory } from '../../src/ssh/transport.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import {
  LogLines,
  ManualSource,
  ORIGIN,
  TextSink,
  bastionFor,
  connected,
  failureOf,
  listen,
  open,
} from './harness.ts';
import type { Target } from './harness.ts';

/** Dials, and expects the target's greeting. */
async function greet(bastion: Bastion, target: Target): Promise<void> {
  const source = new ManualSource();
  source.end();
  const sink = new TextSink();
  const { ended } = await open(bastion, target.endpoint, source, sink);
  assert.equal(await ended, 'finished');
  assert.equal(sink.text, 'hello');
}

test('a bastion that is down at the start: dials are held until it is up', async () => {
  const sshd = await startSshd({ start: false });
  const target = await listen((socket) => socket.end('hello'));
  const log = new LogLines();
  const states: string[] = [];
  const bastion = bastionFor(sshd, { log, onState: (status) => states.push(status.state) });
  bastion.start();
  const greeted = Promise.all([1, 2, 3].map(() => greet(bastion, target)));
  await sleep(1500);
  assert.deepEqual(states, ['connecting', 'down']);
  await sshd.start();
  await greeted;
  await bastion.whenReady();
  assert.deepEqual(states, ['connecting', 'down', 'ready']);
  assert.equal(log.lines.filter((line) => line.startsWith('warn')).length, 1);
  await bastion.stop();
  await sshd.stop();
  await target.close();
});

test('a bastion killed and restarted: channels are lost, dials under way and later ones succeed', async () => {
  const sshd = await startSshd();
  const target = await listen((socket) => socket.end('hello'));
  const silent = await listen(() => {});
  const bastion = await connected(sshd);
  const { ended } = await open(bastion, silent.endpoint, new ManualSource(), new TextSink());
  await sshd.halt();
  assert.equal(await ended, 'upstream-lost');
  assert.equal(bastion.size, 0);
  const greeted = greet(bastion, target);
  await sleep(600);
  await sshd.start();
  await greeted;
  assert.equal(bastion.status.state, 'ready');
  await bastion.stop();
  await sshd.stop();
  await target.close();
  await silent.close();
});

test('a dial that sshd has not answered when its connection dies is dialled again', async () => {
  const sshd = await startSshd();
  const target = await listen((socket) => socket.end('hello'));
  const bastion = await connected(sshd);
  const greeted = greet(bastion, target);
  sshd.dropConnections();
  await greeted;
  await bastion.stop();
  await sshd.stop();
  await target.close();
});

test('a bastion that stops answering is noticed, and replaced', { timeout: 40_000 }, async () => {
  // A relay that goes silent stands for a machine that lost its power.
  const sshd = await startSshd();
  let silent = false;
  const relay = await listen((socket) => {
    const up = net.connect(sshd.port, sshd.address);
    up.on('error', () => {});
    socket.on('close', () => up.destroy());
    if (silent) return;
    socket.on('data', (chunk) => silent || up.write(chunk));
    up.on('data', (chunk) => silent || socket.write(chunk));
  });
  const target = await listen((socket) => socket.write('hello'));
  const bastion = await connected(sshd, { endpoints: () => [relay.endpoint] });
  const { ended } = await open(bastion, target.endpoint, new ManualSource(), new TextSink());
  silent = true;
  const since = Date.now();
  const end: ChannelEnd = await ended;
  assert.equal(end, 'upstream-lost');
  assert.ok(Date.now() - since < 21_000, `noticed after ${Date.now() - since} ms`);
  silent = false;
  await bastion.stop();
  await relay.close();
  await sshd.stop();
  await target.close();
});

test('the second address is tried when the first does not answer', async () => {
  const sshd = await startSshd();
  const closed = await listen(() => {});
  await closed.close();
  const endpoints = [closed.endpoint, { address: sshd.address, port: sshd.port }];
  const bastion = await connected(sshd, { endpoints: () => endpoints });
  await bastion.stop();
  await sshd.stop();
});

test('stop ends channels, fails held dials and later ones, and leaves nothing running', async () => {
  const sshd = await startSshd();
  const target = await listen((socket) => socket.write('x'));
  const bastion = await connected(sshd);
  const { ended } = await open(bastion, target.endpoint, new ManualSource(), new TextSink());
  await bastion.stop();
  assert.equal(await ended, 'upstream-lost');
  assert.equal((await failureOf(bastion, target.endpoint)).reason, 'network-unreachable');
  assert.match(sshd.log(), /Disconnected from user|Received disconnect/);

  const down = bastionFor({ ...lookOf(sshd), port: 1 } as Sshd);
  down.start();
  const failure = failureOf(down, target.endpoint);
  await down.stop();
  assert.equal((await failure).reason, 'network-unreachable');
  await target.close();
  await sshd.stop();
});

test('a socket made from a connecting descriptor, which never emits connect, works', async () => {
  const native = loadNative();
  const socketFactory: SocketFactory = ({ address, port }, onread) =>
    new net.Socket({ fd: native.connectTcp(address, port, 0x6e70, 0), onread });
  const sshd = await startSshd({ start: false });
  const target = await listen((socket) => socket.end('hello'));
  const bastion = bastionFor(sshd, { socketFactory });
  bastion.start();
  await sleep(100);
  assert.match(bastion.status.reason, /ECONNREFUSED/);
  await sshd.start();
  await bastion.whenReady();
  await greet(bastion, target);
  await bastion.stop();
  await sshd.stop();
  await target.close();
});

test('a dial cancelled while held is not dialled', async () => {
  const sshd = await startSshd({ start: false });
  let accepted = 0;
  const target = await listen((socket) => {
    accepted++;
    socket.end('hello');
  });
  const bastion = bastionFor(sshd);
  bastion.start();
  bastion
    .dial(target.endpoint, ORIGIN, {
      opened: () => assert.fail('opened'),
      failed: () => assert.fail('failed'),
    })
    .cancel();
  await sshd.start();
  await bastion.whenReady();
  await greet(bastion, target);
  assert.equal(accepted, 1);
  await bastion.stop();
  await sshd.stop();
  await target.close();
});

function lookOf(sshd: Sshd): Pick<Sshd, 'address' | 'user' | 'clientKeyFile' | 'knownHostsFile'> {
  const { address, user, clientKeyFile, knownHostsFile } = sshd;
  return { address, user, clientKeyFile, knownHostsFile };
}
