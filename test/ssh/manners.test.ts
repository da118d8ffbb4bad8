/** What a real sshd is spared, and what it says when it wants fewer connections. */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SSH_TURNED_AWAY_FIRST_MS } from '../../src/core/limits.ts';
import { waitFor } from '../lab/namespaces.ts';
import { PUNISHING_BUILDS, startSshd as startLabSshd } from '../lab/sshd.ts';
import type { SocketFactory } from '../../src/ssh/transport.ts';
import type { Sshd, SshdOptions } from '../lab/sshd.ts';
import {
  bastionFor,
  connectPlain,
  connected,
  failureOf,
  listen,
  LogLines,
  ManualSource,
  open,
  release,
  TextSink,
} from './harness.ts';

const DENIED = /denied|administratively prohibited|refused local port forward/gi;

const servers: Sshd[] = [];
async function startSshd(options: SshdOptions): Promise<Sshd> {
  const sshd = await startLabSshd(options);
  servers.push(sshd);
  return sshd;
}
afterEach(async () => {
  await release();
  await Promise.all(servers.splice(0).map((sshd) => sshd.stop()));
});

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
});

test('AllowTcpForwarding no: the log says what to look at', async () => {
  const sshd = await startSshd({ config: ['AllowTcpForwarding no'] });
  const log = new LogLines();
  const bastion = await connected(sshd, { log });
  for (const port of [1, 2, 3, 4]) {
    assert.equal((await failureOf(bastion, { address: '127.0.0.1', port })).reason, 'prohibited');
  }
  assert.equal(log.lines.filter((line) => line.includes('AllowTcpForwarding')).length, 1);
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
});

/** Takes the only place of an sshd for connections without a login; the lab's own look at it may be in it still. */
async function squat(sshd: Sshd): Promise<net.Socket> {
  for (;;) {
    const socket = net.connect(sshd.port, sshd.address);
    socket.on('error', () => {});
    const words = await new Promise<string>((resolve) => {
      socket.once('data', (data) => resolve(String(data)));
      socket.once('close', () => resolve(''));
    });
    if (words.startsWith('SSH-')) return socket;
    socket.destroy();
    await sleep(50);
  }
}

/** Half of a wait is drawn; a timer may be a millisecond early. */
const LEAST_MS = SSH_TURNED_AWAY_FIRST_MS / 2 - 2;

/** When connections were attempted. */
class Attempts {
  readonly #times: number[] = [];
  readonly socketFactory: SocketFactory = (to, onread) => {
    this.#times.push(performance.now());
    return connectPlain(to, onread);
  };

  /** Milliseconds from each to the next. */
  get waits(): number[] {
    return this.#times.slice(1).map((at, index) => at - this.#times[index]!);
  }
}

/** Waits for a line of the log; a slow machine may take its time. */
const said = (log: LogLines, words: RegExp): Promise<boolean> =>
  waitFor(`the log to say ${words}`, () => log.lines.some((line) => words.test(line)), 60_000);

test('MaxStartups: a full sshd is told by its own words, and is not hammered', async () => {
  const sshd = await startSshd({ start: false });
  // The last MaxStartups of the file holds, other than with most keywords.
  appendFileSync(sshd.configFile, 'MaxStartups 1:100:1\n');
  await sshd.start();
  const target = await listen((socket) => socket.end('hello'));
  const squatter = await squat(sshd);
  const log = new LogLines();
  const attempts = new Attempts();
  const { socketFactory } = attempts;
  const bastion = bastionFor(sshd, { log, socketFactory, connectHoldMs: 60_000 });
  bastion.start();
  const source = new ManualSource();
  source.end();
  const opened = open(bastion, target.endpoint, source, new TextSink());
  await said(log, /before the login: Exceeded MaxStartups/);
  squatter.destroy();
  assert.equal(await (await opened).ended, 'finished');
  assert.ok(attempts.waits.length > 0 && attempts.waits.every((ms) => ms >= LEAST_MS), sshd.log());
});

test('a server that lets us in and throws us out is not hammered', async () => {
  const sshd = await startSshd({});
  const attempts = new Attempts();
  const bastion = bastionFor(sshd, {
    socketFactory: attempts.socketFactory,
    onState: ({ state }) => void (state === 'ready' && sshd.dropConnections()),
  });
  bastion.start();
  const waits = await waitFor(
    'four logins',
    () => (attempts.waits.length >= 3 ? attempts.waits : undefined),
    30_000,
  );
  assert.ok(waits[1]! >= LEAST_MS && waits[2]! >= 2 * LEAST_MS, waits.join(' '));
});

for (const build of PUNISHING_BUILDS) {
  test('PerSourcePenalties: a server that punishes us is waited for', async () => {
    // Only what is above the least is enforced, and the second for the lab's own look at it may be over by then.
    const sshd = await startSshd({ build, config: ['PerSourcePenalties authfail:8s noauth:1s min:4s'] });
    const keys = readFileSync(sshd.authorizedKeysFile);
    writeFileSync(sshd.authorizedKeysFile, '\n');
    const log = new LogLines();
    const attempts = new Attempts();
    const { socketFactory } = attempts;
    const bastion = bastionFor(sshd, { log, socketFactory, persistent: true });
    bastion.start();
    await said(log, /refused user/);
    writeFileSync(sshd.authorizedKeysFile, keys);
    await said(log, /before the login: Not allowed at this time/);
    await said(log, /bastion is ready/);
    assert.ok(
      attempts.waits.every((ms) => ms >= LEAST_MS),
      attempts.waits.join(' '),
    );
  });
}

test('a listener that says nothing is given up within the time for a greeting', async () => {
  const silent = await listen(() => {});
  const log = new LogLines();
  const bastion = bastionFor(await startSshd({ start: false }), {
    log,
    endpoints: () => [silent.endpoint],
    handshakeTimeoutMs: 1000,
  });
  bastion.start();
  await said(log, /did not identify itself within 1 s/);
});

test('a server that greets and then stops is given up within the time for a handshake', async () => {
  const stuck = await listen((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'));
  const log = new LogLines();
  const bastion = bastionFor(await startSshd({ start: false }), {
    log,
    endpoints: () => [stuck.endpoint],
    handshakeTimeoutMs: 1000,
  });
  bastion.start();
  await said(log, /did not let us in within 1 s/);
});

test('a relay with no server behind it is asked again soon', async () => {
  const sshd = await startSshd({ start: false });
  // As the published port of a container that restarts: taken, and closed without a word.
  const relay = await listen((socket) => {
    const up = net.connect(sshd.port, sshd.address);
    up.on('error', () => socket.end());
    socket.on('close', () => up.destroy());
    up.pipe(socket).pipe(up);
  });
  const log = new LogLines();
  const attempts = new Attempts();
  const { socketFactory } = attempts;
  const bastion = bastionFor(sshd, { log, socketFactory, endpoints: () => [relay.endpoint] });
  bastion.start();
  await said(log, /closed the connection before the login$/);
  // Sooner than a server that turned us away would be asked.
  await waitFor('three attempts', () => attempts.waits.length >= 2);
  assert.ok(Math.min(...attempts.waits) < LEAST_MS, attempts.waits.join(' '));
  await sshd.start();
  await bastion.whenReady();
});
