import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { makeKey } from '../lab/sshd.ts';
import { certify } from './login-lab.ts';

const MAIN = path.resolve(import.meta.dirname, '../../src/main.ts');

const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-check-'));
const file = (name: string): string => path.join(directory, name);

before(async () => {
  await makeKey(file('plain'));
  await makeKey(file('encrypted'), 'ed25519', 'open sesame');
  await makeKey(file('authority'));
  await makeKey(file('aged'));
  certify(file('authority'), file('plain'), '-n', 'u');
  certify(file('authority'), file('aged'), '-n', 'u', '-V', '20200101:20200201');
  copyFileSync(file('plain-cert.pub'), file('other-cert'));
  copyFileSync(file('aged-cert.pub'), file('aged-cert'));
  rmSync(file('aged-cert.pub'));
  const [type, blob] = execFileSync('cat', [file('authority.pub')], { encoding: 'utf8' }).split(' ');
  writeFileSync(file('known_hosts'), `bastion.example ${type} ${blob}\n`);
  writeFileSync(file('passphrase'), 'not it\n', { mode: 0o444 });
  writeFileSync(file('right'), 'open sesame\n', { mode: 0o444 });
});

after(() => rmSync(directory, { recursive: true }));

function check(
  bastions: readonly object[],
  env: NodeJS.ProcessEnv = {},
): { status: number | null; told: string[] } {
  const common = { host: 'bastion.example', user: 'u', knownHostsFile: file('known_hosts') };
  const text = JSON.stringify({
    bastions: bastions.map((each, index) => ({ name: `b${index}`, ...common, ...each })),
  });
  writeFileSync(file('c.yaml'), text);
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'check', '-c', file('c.yaml')], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  });
  return { status, told: stderr.split('\n').filter((line) => line.startsWith('error')) };
}

test('everything that is wrong with every login is told at once', () => {
  const { status, told } = check([
    { identityFile: [file('encrypted'), file('absent')], identityPassphraseFile: file('passphrase') },
    { identityFile: file('encrypted') },
    { identityFile: file('aged'), certificateFile: [file('aged-cert'), file('other-cert')] },
    { agent: file('absent.sock'), auth: ['publickey', 'password'] },
    { agent: true },
    { identityFile: file('known_hosts') },
  ]);
  assert.equal(status, 64);
  const wanted = [
    /CREDENTIAL_UNREADABLE: .* bastions\[0\]\.identityFile.*absent: ENOENT/,
    /KEY_PASSPHRASE_WRONG: .* bastions\[0\]\.identityFile.*encrypted/,
    /KEY_PASSPHRASE_MISSING: .* bastions\[1\]\.identityFile.*encrypted/,
    /CERTIFICATE_EXPIRED: .* bastions\[2\]\.certificateFile.*aged-cert expired at 2020-/,
    /CERTIFICATE_INVALID: .* bastions\[2\]\.certificateFile.*other-cert is not for any of the identity files/,
    /AGENT_FAILED: .* bastions\[3\]\.agent.*absent\.sock.*ENOENT/,
    /AUTH_UNCONFIGURED: .* bastions\[3\]\.auth.*password is in the list, but passwordFile is not given/,
    /CONFIG_INVALID: .* bastions\[4\]\.agent.*SSH_AUTH_SOCK.* is not set/,
    /KEY_INVALID: .* bastions\[5\]\.identityFile.*known_hosts is not a private key/,
  ];
  for (const pattern of wanted) {
    assert.equal(told.filter((line) => pattern.test(line)).length, 1, `${pattern} in\n${told.join('\n')}`);
  }
  assert.equal(told.length, wanted.length, told.join('\n'));
});

test('a login in order is valid, secrets that everybody may read included', () => {
  const { status, told } = check([
    { identityFile: [file('plain'), file('encrypted')], identityPassphraseFile: file('right') },
    { passwordFile: file('right'), auth: ['password'] },
    { keyboardInteractiveFile: file('right') },
  ]);
  assert.deepEqual([status, told], [0, []]);
});
