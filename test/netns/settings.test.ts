/** The same start by flags, file and environment, and what a start is refused for. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { LAB } from '../lab/namespaces.ts';
import { makeKey } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-settings-'));
let world: World;
before(async () => {
  world = await World.create();
});
after(async () => {
  await world.close();
  rmSync(directory, { recursive: true });
});

async function works(netproxy: Netproxy): Promise<void> {
  try {
    await netproxy.ready();
    assert.deepEqual(await world.client('connect', LAB.target.v4, PORTS.echo), { connected: true });
    assert.equal(await netproxy.stop(), 0);
  } finally {
    await netproxy.stop('SIGKILL');
  }
}

test('by a file', async () => {
  const { user, port, clientKeyFile, knownHostsFile } = world.sshd;
  const file = path.join(directory, 'netproxy.yaml');
  const bastion = {
    name: 'main',
    host: LAB.bastion.v4,
    port,
    user,
    identityFile: clientKeyFile,
    knownHostsFile,
  };
  writeFileSync(file, JSON.stringify({ bastions: [bastion] }));
  await works(world.bare(['-c', file]));
});

test('by the environment alone', async () => {
  const [, bastion, , identity, , knownHosts] = world.flags;
  await works(
    world.bare([], {
      NETPROXY_BASTION: bastion,
      NETPROXY_IDENTITY_FILE: identity,
      NETPROXY_KNOWN_HOSTS_FILE: knownHosts,
    }),
  );
});

test('all bad input is named at once, exit 64', async () => {
  const { code, stderr } = await world.refused([
    '--bastion',
    'ssh://a:b@c',
    '--identity',
    '/nonexistent',
    '--nosuch',
  ]);
  assert.equal(code, 64);
  for (const part of ['--nosuch', 'a password in a URL', '/nonexistent', 'ENOENT', 'fix:']) {
    assert.ok(stderr.includes(part), `${part} in ${stderr}`);
  }
  assert.match(stderr, /[34] errors/);
});

test('a passphrase that does not open the key is refused, exit 64', async () => {
  const key = path.join(directory, 'encrypted');
  const passphrase = path.join(directory, 'passphrase');
  await makeKey(key, 'ed25519', 'right');
  writeFileSync(passphrase, 'wrong\n');
  const { code, stderr } = await world.refused([
    ...world.flags.slice(0, 2),
    ...['--identity', key, '--identity-passphrase-file', passphrase],
    ...world.flags.slice(4),
  ]);
  assert.equal(code, 64);
  assert.match(stderr, /KEY_PASSPHRASE_WRONG/);
  assert.doesNotMatch(stderr, /wrong\n/);
});

test('another host key is refused with both fingerprints, file and line, exit 64', async () => {
  const other = path.join(directory, 'other');
  await makeKey(other);
  const [type, blob] = readFileSync(`${other}.pub`, 'utf8').split(' ');
  const file = path.join(directory, 'known_hosts');
  writeFileSync(file, `[${LAB.bastion.v4}]:${world.sshd.port} ${type} ${blob}\n`);
  const { code, stderr } = await world.refused([...world.flags.slice(0, 4), '--known-hosts', file]);
  assert.equal(code, 64);
  assert.match(stderr, /error HOST_KEY_MISMATCH: .*SHA256:\S+ .*known_hosts:1\); got SHA256:/);
});

test('without NET_ADMIN the lines that add it are shown, exit 64', async () => {
  const before = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin'];
  const { code, stderr } = await world.refused(world.flags, { before });
  assert.equal(code, 64);
  assert.match(stderr, /NET_ADMIN_MISSING/);
  assert.match(stderr, /cap_add: \[NET_ADMIN\]/);
  assert.match(stderr, /securityContext/);
});

test('without /dev/net/tun the lines that add it are shown, exit 64', async () => {
  const before = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];
  const { code, stderr } = await world.refused(world.flags, { before });
  assert.equal(code, 64);
  assert.match(stderr, /TUN_MISSING/);
  assert.match(stderr, /devices: \["\/dev\/net\/tun:\/dev\/net\/tun"\]/);
  assert.match(stderr, /hostPath/);
});
