/** A running netproxy whose files change, as an operator or Kubernetes changes them. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { makeKey } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

let world: World;
let netproxy: Netproxy;
let folder: string;
let configFile: string;
beforeEach(async () => {
  world = await World.create();
  folder = world.sshd.directory;
  configFile = join(folder, 'netproxy.yaml');
});
afterEach(() => world.close());

interface Settings {
  readonly identityFile?: string;
  /** What the bastion is known by; its known_hosts file by default. */
  readonly trust?: string;
  readonly more?: string;
}

/** Writes as careful editors do: a new file, renamed over the old one. */
function configure({
  identityFile = world.sshd.clientKeyFile,
  trust = `knownHostsFile: ${world.sshd.knownHostsFile}`,
  more = '',
}: Settings = {}): void {
  const { user, port } = world.sshd;
  const bastion = `name: main, host: ${LAB.bastion.v4}, port: ${port}, user: ${user}`;
  const text = `bastions: [{ ${bastion}, identityFile: ${identityFile}, ${trust} }]\n${more}\n`;
  writeFileSync(`${configFile}.new`, text);
  renameSync(`${configFile}.new`, configFile);
}

async function start(settings: Settings = {}): Promise<void> {
  configure(settings);
  netproxy = world.bare(['-c', configFile]);
  await netproxy.ready();
}

const said = (words: string | RegExp): Promise<boolean> =>
  waitFor(
    `the log to say ${words}`,
    () => (typeof words === 'string' ? netproxy.stderr.includes(words) : words.test(netproxy.stderr)),
    30_000,
  );
const MOVED = 'new flows go to the new connection';
const connects = async (): Promise<void> => {
  const answer = await world.client('connect', LAB.target.v4, PORTS.echo);
  assert.deepEqual(answer, { connected: true }, netproxy.stderr);
};
const logins = (): number => world.sshd.log().match(/Accepted publickey/g)?.length ?? 0;

test('a key that Kubernetes exchanges, without a failed connect', async () => {
  const publish = (version: string, key: string): void => {
    const volume = join(folder, 'volume');
    mkdirSync(join(volume, `..${version}`), { recursive: true });
    writeFileSync(join(volume, `..${version}`, 'key'), readFileSync(key));
    symlinkSync(`..${version}`, join(volume, '..data_tmp'));
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
  };
  publish('1', world.sshd.clientKeyFile);
  const identityFile = join(folder, 'volume', 'key');
  symlinkSync('..data/key', identityFile);
  await start({ identityFile });
  const second = join(folder, 'second');
  await makeKey(second);
  appendFileSync(world.sshd.authorizedKeysFile, readFileSync(`${second}.pub`));
  const bytes = 32 * 1024 * 1024;
  const flow = world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  publish('2', second);
  const moved = said(MOVED);
  for (let i = 0; i < 3; i++) await connects();
  await moved;
  await connects();
  assert.equal((await flow).bytes, bytes, 'a flow that was open is not cut');
  assert.equal(logins(), 2);
  const secondPublic = readFileSync(`${second}.pub`, 'utf8').split(' ')[1]!;
  assert.ok(!netproxy.stderr.includes(secondPublic) && !netproxy.stderr.includes('PRIVATE KEY'));
  assert.match(netproxy.stderr, /bastions\[0\]\.identityFile/);
});

test('a wrong file is refused with all its errors, and what ran goes on', async () => {
  await start();
  configure({ more: 'connectHold: soon\nnonsense: 1' });
  await said('the new configuration is refused');
  assert.match(netproxy.stderr, /connectHold.*soon/);
  assert.match(netproxy.stderr, /nonsense/);
  await connects();
  configure({ identityFile: world.sshd.hostKeyFile.replace('host_key', 'not_there') });
  await said(/not_there/);
  await connects();
  assert.equal(logins(), 1);
});

test('what the bastion is known by, and its ciphers, change without a gap; a key of another resets', async () => {
  const firstContacts = join(folder, 'first_contacts');
  await start({ trust: `tofu: ${firstContacts}` });
  await connects();
  const key = readFileSync(firstContacts, 'utf8').trim().split(' ').slice(1).join(' ');
  assert.ok(readFileSync(`${world.sshd.hostKeyFile}.pub`, 'utf8').startsWith(key));

  const moves = async (trust: string, times: number): Promise<void> => {
    configure({ trust });
    await waitFor('new flows to move', () => netproxy.stderr.split(MOVED).length > times, 30_000);
    await connects();
    assert.equal(logins(), 1 + times);
  };
  await moves(`hostKeys: ["${key}"]`, 1);
  const chacha = 'chacha20-poly1305@openssh.com';
  await moves(`hostKeys: ["${key}"], algorithms: { ciphers: [${chacha}] }`, 2);

  configure({ trust: `hostKeys: ["${key}"], algorithms: { ciphers: [3des-cbc] }` });
  await said('the new configuration is refused');
  await connects();

  const other = join(folder, 'other');
  await makeKey(other);
  const otherKey = readFileSync(`${other}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
  configure({ trust: `hostKeys: ["${otherKey}"]` });
  await said(/HOST_KEY_MISMATCH/);
  await said('the bastion in use is no longer trusted');
  assert.equal(logins(), 3, 'nothing was sent to what is not known');
});

test('SIGHUP reads again, and says when nothing has changed', async () => {
  await start({ more: 'watch: false' });
  netproxy.child.kill('SIGHUP');
  await said('nothing has changed');
  configure({ more: 'watch: false\nlog: { level: debug }' });
  netproxy.child.kill('SIGHUP');
  await said(/log\.level/);
  await connects();
  await said(/flow closed/);
  assert.equal(logins(), 1, 'no new connection for what needs none');
});

test('what needs a restart is named, and local networks are not among it', async () => {
  await start();
  configure({ more: 'tun: { mtu: 1400 }\nlocal: [198.51.100.0/24]' });
  await said('after a restart only: tun.mtu');
  await said('the namespace follows');
  const direct = async (): Promise<boolean> => (await world.lab.app.routes()).includes('198.51.100.0/24');
  await waitFor('a route of its own', direct);
  configure();
  await waitFor('the route to be gone', async () => !(await direct()));
  await connects();
});
