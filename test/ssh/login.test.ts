import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { NetproxyError } from '../../src/core/errors.ts';
import type { ErrorCode } from '../../src/core/errors.ts';
import { fingerprint } from '../../src/ssh/fingerprint.ts';
import { readIdentity } from '../../src/ssh/identity.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { keyLogin } from '../../src/ssh/login.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { bastionFor, connected } from './harness.ts';

let sshd: Sshd;
let hostKey: string;

before(async () => {
  sshd = await startSshd();
  hostKey = readFileSync(`${sshd.hostKeyFile}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
});

after(() => sshd.stop());

const file = (name: string): string => path.join(sshd.directory, name);

/** The error with which a first connection must fail. */
async function refusal(options: Parameters<typeof bastionFor>[1]): Promise<NetproxyError> {
  const bastion = bastionFor(sshd, options);
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

function thrown(code: ErrorCode, run: () => unknown): NetproxyError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof NetproxyError, String(error));
    assert.equal(error.code, code);
    return error;
  }
  throw new Error('nothing was thrown');
}

test('another host key is a mismatch that names both fingerprints, file and line', async () => {
  await makeKey(file('other'));
  const other = readFileSync(file('other.pub'), 'utf8').split(' ').slice(0, 2).join(' ');
  const knownHosts = KnownHosts.parse(`# comment\n[127.0.0.1]:${sshd.port} ${other}\n`, '/etc/known');
  const error = await refusal({ knownHosts });
  assert.equal(error.code, 'HOST_KEY_MISMATCH');
  assert.equal(error.exitCode, 64);
  assert.match(error.message, /\/etc\/known:2/);
  for (const key of [other, hostKey]) {
    assert.ok(error.message.includes(fingerprint(Buffer.from(key.split(' ')[1]!, 'base64'))), error.message);
  }
});

test('an unknown host is refused with the line that would make it known', async () => {
  const error = await refusal({ knownHosts: KnownHosts.parse('', 'empty') });
  assert.equal(error.code, 'HOST_KEY_UNKNOWN');
  assert.ok(error.hint.includes(`[127.0.0.1]:${sshd.port} ${hostKey}`), error.hint);
  const line = error.hint.slice(error.hint.lastIndexOf('['));
  const bastion = await connected(sshd, { knownHosts: KnownHosts.parse(line, 'added') });
  await bastion.stop();
});

test('a revoked host key is refused', async () => {
  const line = `[127.0.0.1]:${sshd.port} ${hostKey}`;
  const error = await refusal({ knownHosts: KnownHosts.parse(`${line}\n@revoked ${line}\n`, 'f') });
  assert.equal(error.code, 'HOST_KEY_REVOKED');
});

test('a known_hosts file hashed by ssh-keygen is understood', async () => {
  writeFileSync(file('hashed'), readFileSync(sshd.knownHostsFile));
  execFileSync('ssh-keygen', ['-q', '-H', '-f', file('hashed')], { stdio: 'ignore' });
  assert.match(readFileSync(file('hashed'), 'utf8'), /^\|1\|/);
  const bastion = await connected(sshd, { knownHosts: KnownHosts.read(file('hashed')) });
  await bastion.stop();
});

test('of several host keys the server is asked for the type that is known', async () => {
  await makeKey(file('host_rsa'), 'rsa');
  await makeKey(file('host_ecdsa'), 'ecdsa');
  const several = await startSshd({
    config: [`HostKey ${file('host_rsa')}`, `HostKey ${file('host_ecdsa')}`],
  });
  for (const name of ['host_rsa', 'host_ecdsa']) {
    const key = readFileSync(file(`${name}.pub`), 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' ');
    const knownHosts = KnownHosts.parse(`[127.0.0.1]:${several.port} ${key}\n`, 'f');
    const bastion = await connected(several, { knownHosts });
    await bastion.stop();
  }
  await several.stop();
});

test('a key that the bastion does not know is refused, with what was tried and what is allowed', async () => {
  await makeKey(file('stranger'));
  const error = await refusal({ login: keyLogin(readIdentity(file('stranger'))) });
  assert.equal(error.code, 'SSH_AUTH_REFUSED');
  assert.equal(error.exitCode, 1);
  assert.match(
    error.message,
    /tried publickey with the ssh-ed25519 key SHA256:\S+ \(\S+\); the server allows: publickey/,
  );
});

for (const type of ['rsa', 'ecdsa', 'ed25519']) {
  test(`logs in with an encrypted ${type} key`, async () => {
    await makeKey(file(`id_${type}`), type, 'open sesame');
    writeFileSync(sshd.authorizedKeysFile, readFileSync(file(`id_${type}.pub`)), { flag: 'a' });
    const bastion = await connected(sshd, {
      login: keyLogin(readIdentity(file(`id_${type}`), 'open sesame')),
    });
    await bastion.stop();
    thrown('KEY_PASSPHRASE_WRONG', () => readIdentity(file(`id_${type}`), 'sesame'));
    thrown('KEY_PASSPHRASE_WRONG', () => readIdentity(file(`id_${type}`), ''));
    thrown('KEY_PASSPHRASE_MISSING', () => readIdentity(file(`id_${type}`)));
  });
}

test('an encrypted RSA key in PEM form', async () => {
  execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-m', 'PEM', '-N', 'open sesame', '-f', file('pem')]);
  assert.equal(readIdentity(file('pem'), 'open sesame').type, 'ssh-rsa');
  thrown('KEY_PASSPHRASE_WRONG', () => readIdentity(file('pem'), 'sesame'));
  thrown('KEY_PASSPHRASE_MISSING', () => readIdentity(file('pem')));
});

test('what is no private key is said to be so', () => {
  assert.match(thrown('KEY_UNREADABLE', () => readIdentity(file('absent'))).message, /absent.*ENOENT/);
  assert.match(thrown('KEY_INVALID', () => readIdentity(`${sshd.clientKeyFile}.pub`)).message, /public key/);
  thrown('KEY_INVALID', () => readIdentity(sshd.configFile));
  // A passphrase that is not needed does no harm.
  assert.equal(readIdentity(sshd.clientKeyFile, 'unneeded').type, 'ssh-ed25519');
});
