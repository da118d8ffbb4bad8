import assert from 'node:assert/strict';
import net from 'node:net';
import { afterEach, test } from 'node:test';
import type { ChannelEnd } from '../../src/core/dialer.ts';
import { loadNative } from '../../src/core/native.ts';
import type { Bastion } from '../../src/ssh/bastion.ts';
import type { SocketFactory } from '../../src/ssh/transport.ts';
import { waitFor } from '../lab/namespaces.ts';
import { startSshd as startLabSshd } from '../lab/sshd.ts';
import type { Sshd, SshdOptions } from '../lab/sshd.ts';
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
  release,
} from './harness.ts';
import type { Target } from './harness.ts';

const servers: Sshd[] = [];
async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const sshd = await startLabSshd(options);
  servers.push(sshd);
  return sshd;
}
afterEach(async () => {
  await release();
  await Promise.all(servers.splice(0).map((sshd) => sshd.stop()));
});

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
  await waitFor('an attempt to have failed', () => states.includes('down'));
  await sshd.start();
  await greeted;
  await bastion.whenReady();
  assert.deepEqual(states, ['connecting', 'down', 'ready']);
  assert.equal(log.lines.filter((line) => line.startsWith('warn')).length, 1);
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
  await waitFor('an attempt to have failed', () => bastion.status.reason.includes('ECONNREFUSED'));
  await sshd.start();
  await greeted;
  assert.equal(bastion.status.state, 'ready');
});

test('a dial that sshd has not answered when its connection dies is dialled again', async () => {
  const sshd = await startSshd();
  const target = await listen((socket) => socket.end('hello'));
  const bastion = await connected(sshd);
  const greeted = greet(bastion, target);
  sshd.dropConnections();
  await greeted;
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
  await waitFor('the next connection', () => bastion.status.state === 'ready', 20_000);
});

test('the second address is tried when the first does not answer', async () => {
  const sshd = await startSshd();
  const closed = await listen(() => {});
  await closed.close();
  const endpoints = [closed.endpoint, { address: sshd.address, port: sshd.port }];
  await connected(sshd, { endpoints: () => endpoints });
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
});

test('a socket made from a connecting descriptor, which never emits connect, works', async () => {
  const native = loadNative();
  const socketFactory: SocketFactory = ({ address, port }, onread) =>
    new net.Socket({ fd: native.connectTcp(address, port, 0x6e70, 0), onread });
  const sshd = await startSshd({ start: false });
  const target = await listen((socket) => socket.end('hello'));
  const bastion = bastionFor(sshd, { socketFactory });
  bastion.start();
  await waitFor('an attempt to have failed', () => bastion.status.reason.includes('ECONNREFUSED'));
  await sshd.start();
  await bastion.whenReady();
  await greet(bastion, target);
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
});

function lookOf(sshd: Sshd): Pick<Sshd, 'address' | 'user' | 'clientKeyFile' | 'knownHostsFile'> {
  const { address, user, clientKeyFile, knownHostsFile } = sshd;
  return { address, user, clientKeyFile, knownHostsFile };
}
