/** What netproxy needs to start, what it keeps of it, and that it still does its work with that. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { connectErrno } from './routes-lab.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const DEADLINE_MS = 20_000;
const NET_ADMIN = '0000000000001000';
/** A user of nobody's, who has files of his own. */
const USER = 64_123;
/** What `--read-only` makes of the file systems, and the engine of /proc/sys; then `exec` of the rest. */
const READ_ONLY = [
  ...['unshare', '-m', 'sh', '-ec'],
  'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; mount -o remount,bind,ro /; ! touch /usr/x 2>/dev/null; exec "$@"',
  'sh',
];

/** The device as most machines have it, for every user; then `exec` of the rest. */
const OPEN_TUN = [
  ...['unshare', '-m', 'sh', '-ec'],
  'mount -t tmpfs none /dev/net; mknod -m 666 /dev/net/tun c 10 200; exec "$@"',
  'sh',
];

const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-privileges-'));
let world: World;
before(async () => {
  world = await World.create();
  chmodSync(directory, 0o755);
});
after(async () => {
  await world.close();
  rmSync(directory, { recursive: true });
});

interface Status {
  readonly [key: string]: string;
}

function statusOf(file: string): Status {
  const lines = readFileSync(file, 'utf8').split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)));
}

const main = (netproxy: Netproxy): Status => statusOf(`/proc/${netproxy.child.pid}/status`);

/** Of all threads but the first. */
function others(netproxy: Netproxy): Status[] {
  const pid = String(netproxy.child.pid);
  const threads = readdirSync(`/proc/${pid}/task`).filter((thread) => thread !== pid);
  return threads.map((thread) => statusOf(`/proc/${pid}/task/${thread}/status`));
}

/** Flags with the files of the world where `uid` alone may read them. */
function filesOf(uid: number): { flags: readonly string[]; key: string } {
  const { clientKeyFile, knownHostsFile } = world.sshd;
  const key = path.join(directory, `key-${uid}`);
  const knownHosts = path.join(directory, `known_hosts-${uid}`);
  for (const [from, to] of [
    [clientKeyFile, key],
    [knownHostsFile, knownHosts],
  ] as const) {
    copyFileSync(from, to);
    chmodSync(to, 0o400);
    chownSync(to, uid, uid);
  }
  return { flags: [...world.flags.slice(0, 2), '--identity', key, '--known-hosts', knownHosts], key };
}

/** Carries flows, connects anew by marked sockets, and puts right what somebody changed. */
async function works(netproxy: Netproxy): Promise<void> {
  const carries = (): Promise<true> =>
    waitFor(
      'a connect through the bastion',
      async () => (await connectErrno(world.lab.app, LAB.target.v4, 3000)) === 'ECONNREFUSED',
      DEADLINE_MS,
    );
  await netproxy.ready(DEADLINE_MS);
  await carries();
  world.sshd.dropConnections();
  await waitFor('the reconnect', () => netproxy.stderr.split('bastion is ready').length > 2, DEADLINE_MS);
  await world.lab.app.ip('route del default dev tun0');
  await world.lab.app.run(['nft', 'delete table inet netproxy']);
  await waitFor(
    'the default by the TUN',
    async () => (await world.lab.app.routes()).includes('default dev tun0'),
    DEADLINE_MS,
  );
  await waitFor(
    'the table',
    async () => (await world.lab.app.routes()).includes('table inet netproxy'),
    DEADLINE_MS,
  );
  await carries();
}

async function ends(netproxy: Netproxy): Promise<void> {
  assert.equal(await netproxy.stop(), 0, netproxy.stderr);
  await world.command('release');
}

test('started as root it becomes nobody with NET_ADMIN alone, and works on', async () => {
  const { flags } = filesOf(65_534);
  const netproxy = world.bare(flags);
  await works(netproxy);
  const { Uid, Gid, CapPrm, CapEff, CapInh, CapAmb, CapBnd, NoNewPrivs, Seccomp } = main(netproxy);
  assert.match(`${Uid} ${Gid}`, /^(65534\s?){8}$/);
  for (const set of [CapPrm, CapEff, CapInh, CapAmb, CapBnd]) assert.equal(set, NET_ADMIN);
  assert.deepEqual([NoNewPrivs, Seccomp], ['1', '2']);
  for (const thread of others(netproxy)) {
    assert.match(thread['Uid'] ?? '', /^65534/);
    assert.match(`${thread['CapPrm']}${thread['CapEff']}`, /^0+$/);
    assert.equal(thread['Seccomp'], '2');
  }
  assert.doesNotMatch(netproxy.stderr, /was read at start, but/);
  await ends(netproxy);
});

test('with a key that only root may read it stays root, with NET_ADMIN alone, and says so', async () => {
  const netproxy = world.netproxy();
  await works(netproxy);
  const { Uid, CapPrm, CapEff, CapBnd, Seccomp } = main(netproxy);
  assert.match(Uid ?? '', /^(0\s?){4}$/);
  assert.deepEqual([CapPrm, CapEff, CapBnd, Seccomp], [NET_ADMIN, NET_ADMIN, NET_ADMIN, '2']);
  const key = world.sshd.clientKeyFile;
  assert.ok(netproxy.stderr.includes(`stays 0: user 65534 could not read ${key} again`), netproxy.stderr);
  await ends(netproxy);

  // Asked for in so many words, it goes, and tells of each file.
  const asked = world.netproxy('--user', '65534');
  await asked.ready(DEADLINE_MS);
  assert.ok(asked.stderr.includes(`${key} was read at start, but user 65534 may not`), asked.stderr);
  await ends(asked);
});

test('with "onExit: open" it puts everything back with what it kept', async () => {
  const before_ = await world.lab.app.routes();
  const netproxy = world.bare([...filesOf(65_534).flags, '--on-exit', 'open']);
  await netproxy.ready(DEADLINE_MS);
  assert.equal(await netproxy.stop(), 0);
  assert.equal(await world.lab.app.routes(), before_);
});

test('with no capability but NET_ADMIN, read-only and no_new_privs it stays uid 0, says so, and works', async () => {
  const netproxy = world.bare(world.flags, {}, [
    ...READ_ONLY,
    ...['setpriv', '--bounding-set', '-all,+net_admin', '--inh-caps', '-all,+net_admin', '--no-new-privs'],
  ]);
  await works(netproxy);
  const { Uid, CapPrm, CapEff, CapBnd, Seccomp } = main(netproxy);
  assert.match(Uid ?? '', /^(0\s?){4}$/);
  for (const set of [CapPrm, CapEff, CapBnd]) assert.equal(set, NET_ADMIN);
  assert.equal(Seccomp, '2');
  assert.match(netproxy.stderr, /the user stays 0: without the capability SETUID/);
  assert.doesNotMatch(netproxy.stderr, /was read at start, but/);
  await ends(netproxy);
});

test('started as another user with ambient NET_ADMIN it works as that user', async () => {
  const { flags } = filesOf(USER);
  const netproxy = world.bare(flags, {}, [
    ...OPEN_TUN,
    ...['setpriv', '--reuid', String(USER), '--regid', String(USER), '--clear-groups'],
    ...[
      '--inh-caps',
      '-all,+net_admin',
      '--ambient-caps',
      '-all,+net_admin',
      '--bounding-set',
      '-all,+net_admin',
    ],
  ]);
  await works(netproxy);
  const { Uid, CapEff, CapAmb } = main(netproxy);
  assert.match(Uid ?? '', new RegExp(`^(${USER}\\s?){4}$`));
  assert.deepEqual([CapEff, CapAmb], [NET_ADMIN, NET_ADMIN]);
  await ends(netproxy);
});

test('files are read again after the change of user by who may, and the others are told', async () => {
  const { flags, key } = filesOf(USER);
  const netproxy = world.bare([...flags, '--user', String(USER), '--keep-alive', '5s']);
  await netproxy.ready(DEADLINE_MS);
  assert.match(main(netproxy)['Uid'] ?? '', new RegExp(`^(${USER}\\s?){4}$`));
  assert.doesNotMatch(netproxy.stderr, /was read at start, but/);
  netproxy.child.kill('SIGHUP');
  await waitFor(
    'the reading',
    () => netproxy.stderr.includes('was read again: nothing has changed'),
    DEADLINE_MS,
  );
  chownSync(key, 0, 0);
  netproxy.child.kill('SIGHUP');
  await waitFor(
    'the refusal',
    () => netproxy.stderr.includes('the new configuration is refused'),
    DEADLINE_MS,
  );
  assert.ok(netproxy.stderr.includes(`${key}: EACCES`), netproxy.stderr);
  await ends(netproxy);
});

test('"user: keep" and "seccomp: off" leave what they say', async () => {
  const netproxy = world.netproxy('--user', 'keep', '--seccomp', 'off');
  await netproxy.ready(DEADLINE_MS);
  const { Uid, CapEff, Seccomp } = main(netproxy);
  assert.match(Uid ?? '', /^(0\s?){4}$/);
  assert.deepEqual([CapEff, Seccomp], [NET_ADMIN, '0']);
  await ends(netproxy);
});
