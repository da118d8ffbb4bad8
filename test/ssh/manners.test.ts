/** What a real sshd is spared, and what it says when it wants fewer connections. */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import {
  bastionFor,
  connected,
  failureOf,
  listen,
  LogLines,
  ManualSource,
  open,
  TextSink,
} from './harness.ts';

const DENIED = /denied|administratively prohibited|refused local port forward/gi;

test('PermitOpen: a forbidden target is asked for once, others are not held against it', async () => {
  const target = await listen((socket) => socket.end('hello'));
  const sshd = await startSshd({ config: [`PermitOpen ${target.endpoint.address}:${target.endpoint.port}`] });
  const bastion = await connected(sshd);
  const forbidden = { address: '127.0.0.1', port: 1 };
  for (let i = 0; i < 20; i++) assert.equal((await failureOf(bastion, forbidden)).reason, 'prohibited');
  assert.equal(sshd.log().match(DENIED)?.length, 1, sshd.log());
  const source = new ManualSource();
  source.end();
  const { ended } = await open(bastion, target.endpoint, source, new TextSink());
  assert.equal(await ended, 'finished');
  await bastion.stop();
  await sshd.stop();
  await target.close();
});

test('AllowTcpForwarding no: the log says what to look at', async () => {
  const sshd = await startSshd({ config: ['AllowTcpForwarding no'] });
  const log = new LogLines();
  const bastion = await connected(sshd, { log });
  for (const port of [1, 2, 3, 4]) {
    assert.equal((await failureOf(bastion, { address: '127.0.0.1', port })).reason, 'prohibited');
  }
  assert.equal(log.lines.filter((line) => line.includes('AllowTcpForwarding')).length, 1);
  await bastion.stop();
  await sshd.stop();
});

test('MaxSessions 0: nothing may be run, and everything works', async () => {
  const target = await listen((socket) => socket.end('hello'));
  const sshd = await startSshd({ config: ['MaxSessions 0'] });
  const bastion = await connected(sshd);
  const source = new ManualSource();
  source.end();
  const sink = new TextSink();
  assert.equal(await (await open(bastion, target.endpoint, source, sink)).ended, 'finished');
  assert.equal(sink.text, 'hello');
  await bastion.stop();
  await sshd.stop();
  await target.close();
});

const dropped = (sshd: Sshd): number => sshd.log().match(/drop connection/g)?.length ?? 0;

/** Takes the only place of an sshd for connections without a login; the lab's own look at it may be in it still. */
async function squat(sshd: Sshd): Promise<net.Socket> {
  for (;;) {
    const socket = net.connect(sshd.port, sshd.address);
    socket.on('error', () => {});
    const words = await new Promise<string>((resolve) =>
      socket.once('data', (data) => resolve(String(data))),
    );
    if (words.startsWith('SSH-')) return socket;
    await sleep(50);
  }
}

test('MaxStartups: a full sshd is told by its own words, and is not hammered', async () => {
  const sshd = await startSshd({ start: false });
  // The last MaxStartups of the file holds, other than with most keywords.
  appendFileSync(sshd.configFile, 'MaxStartups 1:100:1\n');
  await sshd.start();
  const target = await listen((socket) => socket.end('hello'));
  const squatter = await squat(sshd);
  const before = dropped(sshd);
  const log = new LogLines();
  const bastion = bastionFor(sshd, { log });
  bastion.start();
  const source = new ManualSource();
  source.end();
  const sink = new TextSink();
  const opened = open(bastion, target.endpoint, source, sink);
  await sleep(2500);
  assert.match(bastion.status.reason, /before the login: Exceeded MaxStartups/, sshd.log());
  const turnedAway = dropped(sshd) - before;
  assert.ok(turnedAway >= 1 && turnedAway <= 4, `${turnedAway} attempts within 2.5 s\n${sshd.log()}`);
  squatter.destroy();
  assert.equal(await (await opened).ended, 'finished');
  await bastion.stop();
  await sshd.stop();
  await target.close();
});

test('a listener that says nothing is given up within the time for a greeting', async () => {
  const silent = await listen(() => {});
  const sshd = await startSshd({ start: false });
  const bastion = bastionFor(sshd, { endpoints: () => [silent.endpoint], handshakeTimeoutMs: 1000 });
  bastion.start();
  await sleep(1300);
  assert.match(bastion.status.reason, /did not identify itself within 1 s/);
  await bastion.stop();
  await sshd.stop();
  await silent.close();
});

test('a server that greets and then stops is given up within the time for a handshake', async () => {
  const stuck = await listen((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'));
  const sshd = await startSshd({ start: false });
  const bastion = bastionFor(sshd, { endpoints: () => [stuck.endpoint], handshakeTimeoutMs: 1000 });
  bastion.start();
  await sleep(1300);
  assert.match(bastion.status.reason, /did not let us in within 1 s/);
  await bastion.stop();
  await sshd.stop();
  await stuck.close();
});
