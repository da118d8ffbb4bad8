/** Runs that log in by each secret, and whether any of them comes out anywhere. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

const PASSWORD = 'pAssw0rd-of-the-lab';
const PASSPHRASE = 'pHrase-of-the-lab';
const WRONG = 'wRong-of-the-lab';

const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-secrets-'));
const file = (name: string): string => path.join(directory, name);
let world: World;
let key: string;

before(async () => {
  world = await World.create({
    password: PASSWORD,
    config: ['AuthenticationMethods publickey,keyboard-interactive publickey,password'],
  });
  execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-m', 'PEM', '-N', '', '-f', file('key')]);
  key = readFileSync(file('key'), 'utf8').split('\n')[5] ?? assert.fail();
  execFileSync('ssh-keygen', ['-q', '-p', '-P', '', '-N', PASSPHRASE, '-f', file('key')]);
  writeFileSync(world.sshd.authorizedKeysFile, readFileSync(file('key.pub')), { flag: 'a' });
  for (const [name, text] of Object.entries({ password: PASSWORD, passphrase: PASSPHRASE, wrong: WRONG })) {
    // As Kubernetes and Docker mount a secret: for everybody to read.
    writeFileSync(file(name), `${text}\n`, { mode: 0o444 });
  }
});

after(async () => {
  await world.close();
  rmSync(directory, { recursive: true });
});

function withoutSecrets(text: string): void {
  for (const secret of [PASSWORD, PASSPHRASE, WRONG, key]) {
    for (const form of [
      secret,
      Buffer.from(secret).toString('base64'),
      Buffer.from(secret).toString('hex'),
    ]) {
      assert.ok(!text.includes(form), `${form} in:\n${text}`);
    }
  }
}

const flags = (secret: 'password' | 'wrong', how: string): string[] => [
  ...world.flags.slice(0, 2),
  ...world.flags.slice(4),
  ...['--identity', file('key'), '--identity-passphrase-file', file('passphrase'), how, file(secret)],
  ...['--log-level', 'debug'],
];

for (const how of ['--password-file', '--keyboard-interactive-file']) {
  test(`a run that logs in by a key and ${how} shows nothing of them`, async () => {
    const netproxy = world.bare(flags('password', how));
    try {
      await netproxy.ready();
      assert.deepEqual(await world.client('connect', LAB.target.v4, PORTS.echo), { connected: true });
      netproxy.child.kill('SIGUSR2');
      const proc = (name: string): string => readFileSync(`/proc/${netproxy.child.pid}/${name}`, 'utf8');
      withoutSecrets(proc('cmdline') + proc('environ'));
      // The connection is lost and made again: the secrets are used a second time.
      world.sshd.dropConnections();
      await waitFor('the reconnect', () => netproxy.stderr.split('bastion is ready').length > 2, 10_000);
      assert.equal(await netproxy.stop(), 0);
      assert.match(netproxy.stderr, /"level":"debug"|"level":"info"/);
      withoutSecrets(netproxy.stdout + netproxy.stderr);
    } finally {
      await netproxy.stop('SIGKILL');
    }
  });

  test(`a run that ${how} does not log in says what it tried, and nothing of the secrets`, async () => {
    const { code, stderr } = await world.refused(flags('wrong', how));
    assert.equal(code, 1);
    assert.match(stderr, /SSH_AUTH_REFUSED: .* accepted publickey with the ssh-rsa key SHA256:/);
    withoutSecrets(stderr);
  });
}

test('check shows nothing of the secrets', async () => {
  for (const form of [[], ['--json']]) {
    withoutSecrets(await world.command('check', ...flags('password', '--password-file'), ...form));
  }
});
