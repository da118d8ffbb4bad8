import assert from 'node:assert/strict';
import type net from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bastion } from '../../src/ssh/bastion.ts';
import { openFailure } from '../../src/ssh/open-failure.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import {
  MIB,
  ManualSource,
  ORIGIN,
  PatternSource,
  SlowSink,
  TextSink,
  connected,
  failureOf,
  listen,
  open,
  release,
} from './harness.ts';

let sshd: Sshd;
let bastion: Bastion;

before(async () => {
  sshd = await startSshd();
  bastion = await connected(sshd);
});

after(async () => {
  await release();
  await sshd.stop();
});

/** Waits until nothing is open: numbers come back when both sides have closed. */
async function idle(of: Bastion): Promise<void> {
  for (let i = 0; of.size > 0; i++) {
    assert.ok(i < 500, `${of.size} channels are still open`);
    await sleep(10);
  }
}

test('a closed port is refused', async () => {
  const target = await listen(() => {});
  await target.close();
  const failure = await failureOf(bastion, target.endpoint);
  assert.equal(failure.reason, 'refused');
  assert.match(failure.message, /refused/i);
});

test('what sshd says of a failed open maps to what an application is told', () => {
  const reasons: [number, string, string][] = [
    [1, 'open failed', 'prohibited'],
    [2, 'Connection refused', 'refused'],
    [2, 'No route to host', 'host-unreachable'],
    [2, 'Network is unreachable', 'network-unreachable'],
    [2, 'Connection timed out', 'host-unreachable'],
    [2, 'open failed', 'network-unreachable'],
    [2, 'Temporary failure in name resolution', 'host-unreachable'],
    [3, 'unknown channel type', 'host-unreachable'],
    [4, 'no more sessions', 'host-unreachable'],
  ];
  for (const [code, text, reason] of reasons) assert.equal(openFailure(code, text).reason, reason, text);
});

test('a forward that sshd does not permit is prohibited', async () => {
  const strict = await startSshd({ config: ['PermitOpen none'] });
  const behind = await connected(strict);
  assert.equal((await failureOf(behind, { address: '127.0.0.1', port: 1 })).reason, 'prohibited');
  await behind.stop();
  await strict.stop();
});

test('an account that may run nothing still forwards', async () => {
  const strict = await startSshd({ config: ['MaxSessions 0'] });
  const behind = await connected(strict);
  const target = await listen((socket) => socket.end('hello'));
  const sink = new TextSink();
  const source = new ManualSource();
  source.end();
  const { ended } = await open(behind, target.endpoint, source, sink);
  assert.equal(await ended, 'finished');
  assert.equal(sink.text, 'hello');
  await behind.stop();
  await target.close();
  await strict.stop();
});

test('handlers are called in a later turn, and a cancelled dial leaves no channel behind', async () => {
  const accepted: net.Socket[] = [];
  const target = await listen((socket) => {
    accepted.push(socket);
    socket.on('end', () => socket.end());
    socket.resume();
  });
  let called = false;
  const dial = bastion.dial(target.endpoint, ORIGIN, {
    opened: () => (called = true),
    failed: () => (called = true),
  });
  assert.equal(called, false);
  dial.cancel();
  dial.cancel();
  await idle(bastion);
  assert.equal(called, false);
  while (accepted.length === 0 || target.sockets.size > 0) await sleep(5);
  await target.close();
});

test('an aborted channel ends at once and the target sees its connection end', async () => {
  const target = await listen((socket) => {
    socket.on('end', () => socket.end());
    socket.resume();
  });
  const sink = new TextSink();
  const { channel, ended } = await open(bastion, target.endpoint, new ManualSource(), sink);
  let over = false;
  void ended.then(() => (over = true));
  channel.abort();
  assert.equal(over, false);
  channel.abort();
  channel.sourceReady();
  channel.sinkDrained();
  assert.equal(await ended, 'aborted');
  await idle(bastion);
  while (target.sockets.size > 0) await sleep(5);
  await target.close();
});

test('an abort in the midst of a download and of an upload', async () => {
  const target = await listen((socket) => {
    const chunk = Buffer.alloc(MIB);
    const send = (error?: Error | null): void => {
      if (error === undefined || error === null) socket.write(chunk, send);
    };
    send();
    socket.resume();
  });
  for (let i = 0; i < 20; i++) {
    const sink = new SlowSink();
    const { channel, ended } = await open(bastion, target.endpoint, new PatternSource(64 * MIB), sink);
    while (sink.total < i * 40_000) await sleep(1);
    channel.abort();
    const atAbort = sink.total;
    assert.equal(await ended, 'aborted');
    await sleep(5);
    assert.equal(sink.total, atAbort);
  }
  await idle(bastion);
  await target.close();
});

test('a target that resets is told apart from one that finished', async () => {
  const sockets: net.Socket[] = [];
  const target = await listen((socket) => {
    sockets.push(socket);
    socket.write('x');
  });
  const sink = new TextSink();
  const source = new PatternSource(512 * MIB);
  const { ended } = await open(bastion, target.endpoint, source, sink);
  await sink.until((sink) => sink.text === 'x');
  sockets[0]!.resetAndDestroy();
  assert.equal(await ended, 'reset-by-peer');
  await idle(bastion);
  await target.close();
});

test('2000 opens, 200 at once, leave no channel, listener or handle behind', async () => {
  const target = await listen((socket) => socket.end('x'));
  const once = async (): Promise<void> => {
    const source = new ManualSource();
    source.end();
    const sink = new TextSink();
    const { ended } = await open(bastion, target.endpoint, source, sink);
    assert.equal(await ended, 'finished');
    assert.equal(sink.text, 'x');
  };
  await once();
  await idle(bastion);
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const timersBefore = timers();
  for (let round = 0; round < 10; round++) await Promise.all(Array.from({ length: 200 }, once));
  await idle(bastion);
  assert.ok(timers() <= timersBefore, `${timers()} timers, ${timersBefore} before`);
  await target.close();
});
