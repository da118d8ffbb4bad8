/** Pinned keys and first contacts: against a real server, and together. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { NetproxyError } from '../../src/core/errors.ts';
import { fingerprint } from '../../src/ssh/fingerprint.ts';
import { FirstContact } from '../../src/ssh/first-contact.ts';
import { JoinedTrust } from '../../src/ssh/host-trust.ts';
import type { HostTrust } from '../../src/ssh/host-trust.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { Pins } from '../../src/ssh/pins.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { bastionFor, connected, listen, release } from './harness.ts';

let sshd: Sshd;
let hostKey: string;
let otherKey: string;
const file = (name: string): string => path.join(sshd.directory, name);
const keyOf = (name: string): string =>
  readFileSync(file(`${name}.pub`), 'utf8')
    .split(' ')
    .slice(0, 2)
    .join(' ');
const printOf = (key: string): string => fingerprint(Buffer.from(key.split(' ')[1]!, 'base64'));

before(async () => {
  sshd = await startSshd();
  await makeKey(file('other'));
  hostKey = keyOf('host_key');
  otherKey = keyOf('other');
});

afterEach(release);
after(() => sshd.stop());

const pinned = (...texts: string[]): JoinedTrust =>
  new JoinedTrust(
    [new Pins(texts.map((text, index) => ({ text, where: `c.yaml:${index + 3}:5` })))],
    undefined,
  );
const learning = (name: string, ...sources: KnownHosts[]): JoinedTrust =>
  new JoinedTrust([...sources, new Pins([])], new FirstContact(file(name)));

async function refusal(knownHosts: HostTrust, of: Sshd = sshd): Promise<NetproxyError> {
  const bastion = bastionFor(of, { knownHosts });
  bastion.start();
  try {
    await bastion.whenReady();
  } catch (error) {
    assert.ok(error instanceof NetproxyError, String(error));
    return error;
  } finally {
    await bastion.stop();
  }
  throw new Error('the connection succeeded');
}

test('a pinned key or fingerprint is enough, and one of several too', async () => {
  for (const pins of [
    [hostKey],
    [printOf(hostKey)],
    [`ssh-ed25519 ${printOf(hostKey)}`],
    [otherKey, hostKey],
    [printOf(otherKey), printOf(hostKey)],
  ]) {
    await (await connected(sshd, { knownHosts: pinned(...pins) })).stop();
  }
});

test('another key than the pinned one is refused with both fingerprints, the place and the way on', async () => {
  for (const pin of [otherKey, printOf(otherKey)]) {
    const error = await refusal(pinned(pin));
    assert.equal(error.code, 'HOST_KEY_MISMATCH');
    assert.ok(error.message.includes(printOf(otherKey)) && error.message.includes(printOf(hostKey)));
    assert.match(error.message, /c\.yaml:3:5/);
    assert.match(error.hint, /netproxy keyscan \[127\.0\.0\.1\]:\d+/);
  }
});

test('pins and known_hosts add to one another, and a revoked key is refused all the same', async () => {
  const name = `[127.0.0.1]:${sshd.port}`;
  const known = (text: string): KnownHosts => KnownHosts.parse(text, 'known_hosts');
  const both = (text: string, pin: string): JoinedTrust =>
    new JoinedTrust([known(text), new Pins([{ text: pin, where: 'p' }])], undefined);
  await (await connected(sshd, { knownHosts: both(`${name} ${otherKey}`, hostKey) })).stop();
  await (await connected(sshd, { knownHosts: both(`${name} ${hostKey}`, otherKey) })).stop();
  const mismatch = await refusal(both(`${name} ${otherKey}`, otherKey));
  assert.match(mismatch.message, /known_hosts:1\), .*\(ssh-ed25519, p\)/);
  assert.equal((await refusal(both(`@revoked ${name} ${hostKey}`, hostKey))).code, 'HOST_KEY_REVOKED');
});

test('a server with several keys is asked for the pinned type', async (t) => {
  const several = await startSshd({ start: false });
  t.after(() => several.stop());
  const rsa = path.join(several.directory, 'rsa');
  await makeKey(rsa, 'rsa');
  writeFileSync(several.configFile, `${readFileSync(several.configFile, 'utf8')}\nHostKey ${rsa}\n`);
  await several.start();
  const key = readFileSync(`${rsa}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
  for (const pin of [key, `ssh-rsa ${printOf(key)}`]) {
    await (await connected(several, { knownHosts: pinned(pin) })).stop();
  }
});

test('a first contact is written once, for us alone, and another key is refused afterwards', async () => {
  writeFileSync(file('tofu'), `elsewhere.example ${otherKey}`, { mode: 0o644 });
  await (await connected(sshd, { knownHosts: learning('tofu') })).stop();
  const text = readFileSync(file('tofu'), 'utf8');
  assert.equal(text, `elsewhere.example ${otherKey}\n[127.0.0.1]:${sshd.port} ${hostKey}\n`);
  assert.equal(statSync(file('tofu')).mode & 0o777, 0o600);
  assert.deepEqual(
    readdirSync(sshd.directory).filter((name) => name.endsWith('.new')),
    [],
  );
  await (await connected(sshd, { knownHosts: learning('tofu') })).stop();
  assert.equal(readFileSync(file('tofu'), 'utf8'), text);

  writeFileSync(file('tofu'), text.replace(hostKey, otherKey));
  const error = await refusal(learning('tofu'));
  assert.equal(error.code, 'HOST_KEY_MISMATCH');
  assert.match(error.message, /tofu:2/);
  assert.equal(readFileSync(file('tofu'), 'utf8'), text.replace(hostKey, otherKey));
});

test('where known_hosts knows the host, nothing is learnt', async () => {
  const known = KnownHosts.parse(`[127.0.0.1]:${sshd.port} ${otherKey}`, 'known_hosts');
  assert.equal((await refusal(learning('unused', known))).code, 'HOST_KEY_MISMATCH');
  assert.equal(existsSync(file('unused')), false);
});

test('a key that the server only claims to have is not learnt', async () => {
  // Whoever stands in between changes the answer of the key exchange, whose signature then fails.
  const { endpoint } = await listen((socket) => {
    const server = net.connect(sshd.port, sshd.address);
    socket.pipe(server);
    socket.on('close', () => server.destroy());
    server.on('error', () => socket.destroy());
    server.on('end', () => socket.end());
    let seen = 0;
    server.on('data', (chunk: Buffer) => {
      const at = chunk.indexOf('ssh-ed25519\0\0\0 ');
      if (at > 0 && ++seen === 1) chunk[at + 20]! ^= 1;
      socket.write(chunk);
    });
  });
  const bastion = bastionFor(sshd, { endpoints: () => [endpoint], knownHosts: learning('claimed') });
  bastion.start();
  const deadline = Date.now() + 20_000;
  while (bastion.status.state === 'connecting' && Date.now() < deadline) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(bastion.status.state, 'down');
  assert.match(bastion.status.reason, /signature verification failed/);
  await bastion.stop();
  assert.equal(existsSync(file('claimed')), false);
});

test('a link to the file stays a link', async () => {
  mkdirSync(file('real'));
  writeFileSync(file('real/hosts'), '');
  symlinkSync(file('real/hosts'), file('link'));
  await (await connected(sshd, { knownHosts: learning('link') })).stop();
  assert.match(readFileSync(file('real/hosts'), 'utf8'), /ssh-ed25519/);
});

test('a file that cannot be written is told before the login; one that has the key need not be', async () => {
  const bad = await refusal(learning('missing/hosts'));
  assert.equal(bad.code, 'TOFU_UNWRITABLE');
  assert.match(bad.message, /missing\/hosts: ENOENT/);
  assert.throws(() => new FirstContact(file('missing/hosts')).judge('h', 22), { code: 'TOFU_UNWRITABLE' });

  mkdirSync(file('kept'));
  writeFileSync(file('kept/hosts'), `[127.0.0.1]:${sshd.port} ${hostKey}\n`);
  // Root writes anywhere but on a file system that takes nothing.
  chmodSync(file('kept'), 0o500);
  new FirstContact(file('kept/hosts')).judge('127.0.0.1', sshd.port);
  await (await connected(sshd, { knownHosts: learning('kept/hosts') })).stop();
  rmSync(file('kept'), { recursive: true });

  writeFileSync(file('broken'), 'not a line\n');
  assert.equal((await refusal(learning('broken'))).code, 'KNOWN_HOSTS_INVALID');
});

test('a read-only file system is told, by check too', () => {
  const main = path.resolve(import.meta.dirname, '../../src/main.ts');
  const script = 'mount -t tmpfs none "$0" && mount -o remount,ro "$0" && exec "$@"';
  mkdirSync(file('sealed'));
  const flags = ['--bastion', 'ssh://u@h.example', '--identity', sshd.clientKeyFile];
  const args = [script, file('sealed'), process.execPath, main, 'check', ...flags];
  const { status, stderr } = spawnSync(
    'unshare',
    ['--mount', 'sh', '-c', ...args, '--tofu', file('sealed/hosts')],
    { encoding: 'utf8', env: { PATH: process.env['PATH'] } },
  );
  assert.equal(status, 64, stderr);
  assert.match(stderr, /TOFU_UNWRITABLE: --tofu: .*sealed\/hosts: EROFS/);
});
