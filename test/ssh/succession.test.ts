/** Settings that change while flows run, against real servers. */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SSH_DRAIN_POLL_MS } from '../../src/core/limits.ts';
import type { BastionOptions } from '../../src/ssh/bastion.ts';
import { readIdentity } from '../../src/ssh/identity.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { keyLogin } from '../../src/ssh/login.ts';
import { Succession } from '../../src/ssh/succession.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { waitFor } from '../lab/namespaces.ts';
import { connectPlain, listen, LogLines, ManualSource, open, release, TextSink } from './harness.ts';
import type { Target } from './harness.ts';

let sshd: Sshd;
let target: Target;
let log: LogLines;
const running: Succession[] = [];
beforeEach(async () => {
  sshd = await startSshd();
  // Says hello, and gives back what comes.
  target = await listen((socket) => {
    socket.write('hello');
    socket.pipe(socket);
  });
  log = new LogLines();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((succession) => succession.stop()));
  await release();
  await sshd.stop();
});

function options(more: Partial<BastionOptions> = {}): BastionOptions {
  return {
    name: 'main',
    endpoints: () => [{ address: sshd.address, port: sshd.port }],
    hostName: sshd.address,
    port: sshd.port,
    user: sshd.user,
    login: keyLogin(readIdentity(sshd.clientKeyFile)),
    knownHosts: KnownHosts.read(sshd.knownHostsFile),
    socketFactory: connectPlain,
    log,
    ...more,
  };
}

async function started(): Promise<Succession> {
  const succession = new Succession(options());
  running.push(succession);
  succession.start();
  await succession.whenReady();
  return succession;
}

interface Conversation {
  readonly ended: Promise<string>;
  say(words: string): Promise<void>;
  close(): void;
}

async function converse(succession: Succession): Promise<Conversation> {
  const source = new ManualSource();
  const sink = new TextSink();
  const { channel, ended } = await open(succession, target.endpoint, source, sink);
  await sink.until(({ text }) => text === 'hello');
  return {
    ended,
    say: async (words) => {
      source.push(words);
      channel.sourceReady();
      await sink.until(({ text }) => text.endsWith(words));
    },
    close: () => {
      source.end();
      channel.sourceReady();
    },
  };
}

const logins = (): number => sshd.log().match(/Accepted publickey/g)?.length ?? 0;
const moved = (): boolean => log.lines.some((line) => line.includes('new flows go to the new connection'));
const drained = (): boolean => log.lines.some((line) => line.includes('the old connection has ended'));

test('a new key: the old flow goes on, new ones use the new connection, the old one ends after its flow', async () => {
  const succession = await started();
  const old = await converse(succession);
  const key = `${sshd.directory}/second_key`;
  await makeKey(key);
  appendFileSync(sshd.authorizedKeysFile, readFileSync(`${key}.pub`));
  succession.replace(options({ login: keyLogin(readIdentity(key)) }), false);
  await waitFor('the new connection', moved);
  // sshd lets us in before it writes so.
  await waitFor('the login in the log', () => logins() === 2);
  const fresh = await converse(succession);
  await old.say('still here');
  await fresh.say('new here');
  assert.equal(succession.size, 2);
  // Longer than the pause between two looks at the flows of the old connection.
  await sleep(SSH_DRAIN_POLL_MS + 200);
  assert.equal(drained(), false);
  old.close();
  assert.equal(await old.ended, 'finished');
  await waitFor('the end of the old connection', drained);
  await fresh.say('unmoved');
  assert.equal(succession.status.state, 'ready');
});

test('a key that the server refuses: the old connection stays, and the new key is taken as soon as it is allowed', async () => {
  const succession = await started();
  const old = await converse(succession);
  const key = `${sshd.directory}/second_key`;
  await makeKey(key);
  succession.replace(options({ login: keyLogin(readIdentity(key)) }), false);
  await waitFor('the refusal', () => log.lines.some((line) => /refused user/.test(line)));
  await old.say('still here');
  const fresh = await converse(succession);
  await fresh.say('new here');
  // Even a lost connection comes back by the old settings.
  sshd.dropConnections();
  assert.equal(await old.ended, 'upstream-lost');
  await (await converse(succession)).say('back');
  appendFileSync(sshd.authorizedKeysFile, readFileSync(`${key}.pub`));
  // The fourth wait after refusals may be of 16 s.
  await waitFor('the new connection', moved, 60_000);
  await (await converse(succession)).say('moved');
});

test('settings that are replaced again before they worked are forgotten', async () => {
  const succession = await started();
  // Reads, so that it sees the end.
  const nowhere = await listen((socket) => socket.resume().on('end', () => socket.end()));
  succession.replace(options({ endpoints: () => [nowhere.endpoint] }), false);
  await waitFor('the attempt', () => nowhere.sockets.size > 0);
  succession.replace(options(), false);
  await waitFor('the new connection', moved);
  await waitFor('the end of the attempt', () => nowhere.sockets.size === 0);
});

test('a host key that is no longer trusted: its flows are reset, and nothing goes there any more', async () => {
  const succession = await started();
  const old = await converse(succession);
  const other = `${sshd.directory}/other_key`;
  await makeKey(other);
  const [type, key] = readFileSync(`${other}.pub`, 'utf8').split(' ');
  const knownHosts = KnownHosts.parse(`[${sshd.address}]:${sshd.port} ${type} ${key}\n`, 'known_hosts');
  succession.replace(options({ knownHosts, connectHoldMs: 500 }), true);
  assert.equal(await old.ended, 'upstream-lost');
  await assert.rejects(converse(succession), /not connected/);
  assert.equal(logins(), 1);
  succession.replace(options(), true);
  await (await converse(succession)).say('trusted again');
});

test('a known_hosts file that says the same of the server in use resets nothing', async () => {
  const succession = await started();
  const old = await converse(succession);
  succession.replace(options(), true);
  await waitFor('the new connection', moved);
  await old.say('still here');
});

test('dials that wait for a bastion that is away are opened by the new settings', async (t) => {
  await sshd.halt();
  const succession = new Succession(options());
  running.push(succession);
  succession.start();
  const waiting = converse(succession);
  await waitFor('an attempt to have failed', () => succession.status.state === 'down');
  const second = await startSshd();
  t.after(() => second.stop());
  succession.replace(
    options({
      endpoints: () => [{ address: second.address, port: second.port }],
      hostName: second.address,
      port: second.port,
      login: keyLogin(readIdentity(second.clientKeyFile)),
      knownHosts: KnownHosts.read(second.knownHostsFile),
    }),
    true,
  );
  await (await waiting).say('moved');
  await succession.whenReady();
});
