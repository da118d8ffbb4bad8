import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { CertificateWatch } from '../../src/ssh/certificate-watch.ts';
import { parseCertificate, parseCertificateFile, validity } from '../../src/ssh/certificate.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { LogLines, bastionFor, connected } from './harness.ts';
import { certify, faults, login, refusal } from './login-lab.ts';

const TYPES = [
  ['ed25519', []],
  ['ecdsa', ['-b', '256']],
  ['ecdsa', ['-b', '384']],
  ['ecdsa', ['-b', '521']],
  ['rsa', ['-b', '2048']],
] as const;

let sshd: Sshd;
let user: string;

before(async () => {
  sshd = await startSshd({ start: false });
  user = sshd.user;
  await makeKey(file('authority'));
  await makeKey(file('authority-rsa'), 'rsa');
  await makeKey(file('other-authority'));
  writeFileSync(
    file('authorities'),
    readFileSync(file('authority.pub'), 'utf8') + readFileSync(file('authority-rsa.pub'), 'utf8'),
  );
  const config = readFileSync(sshd.configFile, 'utf8');
  writeFileSync(sshd.configFile, `TrustedUserCAKeys ${file('authorities')}\n${config}`);
  await sshd.start();
});

after(() => sshd.stop());

const file = (name: string): string => path.join(sshd.directory, name);

/** A new key with a certificate beside it. */
async function certified(name: string, ...options: readonly string[]): Promise<string> {
  await makeKey(file(name));
  certify(file('authority'), file(name), ...options);
  return file(name);
}

async function logsIn(files: Parameters<typeof login>[0]): Promise<void> {
  const bastion = await connected(sshd, { login: login(files) });
  await bastion.stop();
}

for (const [type, options] of TYPES) {
  for (const authority of ['authority', 'authority-rsa']) {
    test(`logs in with a certificate of ${[type, ...options].join(' ')} by the ${authority}`, async () => {
      const key = file(['id', type, ...options, authority].join(''));
      execFileSync('ssh-keygen', ['-q', '-t', type, ...options, '-N', '', '-f', key]);
      certify(file(authority), key, '-n', user, '-V', '+1h');
      await logsIn({ keys: [key] });
      assert.match(sshd.log(), /Accepted publickey for .*-CERT .* CA /);
    });
  }
}

test('a certificate elsewhere is named, and the key of the right one is found', async () => {
  await certified('far', '-n', user);
  await makeKey(file('near'));
  copyFileSync(file('far-cert.pub'), file('elsewhere'));
  copyFileSync(file('far'), file('bare'));
  await logsIn({ keys: [file('near'), file('bare')], certificates: [file('elsewhere')] });
  assert.deepEqual(faults({ keys: [file('bare')], certificates: [file('elsewhere')] }), []);
});

test('a certificate for another key, for hosts, or none at all is told before connecting', async () => {
  await certified('one', '-n', user);
  await makeKey(file('two'));
  certify(file('authority'), file('two'), '-h', '-n', 'host.example');
  copyFileSync(file('two'), file('three'));
  const found = faults({
    keys: [file('three')],
    certificates: [file('one-cert.pub'), file('two-cert.pub'), file('two.pub'), sshd.configFile],
  });
  assert.equal(found.length, 4, found.join('\n'));
  assert.match(
    found.join('\n'),
    /one-cert\.pub is not for any of the identity files, but for the ssh-ed25519 key SHA256:/,
  );
  assert.match(
    found.join('\n'),
    /two-cert\.pub is no certificate to log in with: it is a certificate for hosts/,
  );
  assert.match(found.join('\n'), /two\.pub is no certificate to log in with: the file does not hold/);
  copyFileSync(file('one-cert.pub'), file('three-cert.pub'));
  assert.match(
    faults({ keys: [file('three')] }).join(),
    /identityFile CERTIFICATE_INVALID .*three-cert\.pub is not for/,
  );
});

test('an expired certificate is told before connecting when named, and by the refusal when beside', async () => {
  const key = await certified('old', '-n', user, '-V', '20200101:20200201');
  const [fault, ...more] = faults({ keys: [key], certificates: [`${key}-cert.pub`] });
  assert.equal(more.length, 0);
  assert.match(
    fault ?? '',
    /certificateFile CERTIFICATE_EXPIRED .* expired at 2020-0[12]-\d\dT.*Z; it was valid from 20/,
  );
  const error = await refusal(sshd, { keys: [key] });
  assert.equal(error.code, 'CERTIFICATE_EXPIRED');
  assert.equal(error.exitCode, 64);
  assert.match(
    error.message,
    /old-cert\.pub expired at 2020.* refused user .*tried publickey with the certificate/,
  );
  assert.match(error.hint, /signed again/);
});

test('one that is not valid yet is said to be so', async () => {
  const key = await certified('young', '-n', user, '-V', '+1h:+2h');
  const error = await refusal(sshd, { keys: [key] });
  assert.equal(error.code, 'CERTIFICATE_EXPIRED');
  assert.match(error.message, /is not valid before \d{4}-.*; the clock here says/);
});

test('one for other users is said to be so', async () => {
  const key = await certified('foreign', '-n', 'alice,bob');
  const error = await refusal(sshd, { keys: [key] });
  assert.equal(error.code, 'SSH_AUTH_REFUSED');
  assert.match(error.hint, /foreign-cert\.pub is for alice, bob, not for "/);
});

test('one of an authority that the bastion does not trust is refused, and the key itself is tried next', async () => {
  await makeKey(file('doubted'));
  certify(file('other-authority'), file('doubted'), '-n', user, '-I', 'who', '-z', '7');
  const error = await refusal(sshd, { keys: [file('doubted')] });
  assert.match(
    error.message,
    /with the certificate \S+doubted-cert\.pub \("who", serial 7\) of the ssh-ed25519 key SHA256:\S+ \(\S+doubted\), publickey with the ssh-ed25519 key/,
  );
  writeFileSync(sshd.authorizedKeysFile, readFileSync(file('doubted.pub')), { flag: 'a' });
  await logsIn({ keys: [file('doubted')] });
});

test('warns in time of what will not do, and once', async () => {
  const key = await certified('soon', '-n', user, '-V', '-1h:+1h');
  const bare = await certified('bare-rights', '-n', 'alice', '-O', 'clear', '-V', '-1h:+100d');
  const log = new LogLines();
  const { certificates } = login({ keys: [key, bare] });
  const watch = new CertificateWatch(certificates, user, log);
  const end = certificates[0]?.certificate.validBefore ?? assert.fail();
  const about = (name: string): string[] => log.lines.filter((line) => line.includes(name));
  watch.look(end - 3_600_000);
  assert.deepEqual(about('soon-cert'), []);
  watch.look(end - 600_000);
  watch.look(end - 500_000);
  assert.match(about('soon-cert').join(), /^warn the certificate \S+soon-cert\.pub expires at \S+Z$/);
  watch.look(end);
  assert.match(about('soon-cert')[1] ?? '', /expired at/);
  assert.match(about('bare-rights').join('\n'), /has no permit-port-forwarding/);
  assert.match(about('bare-rights').join('\n'), /is for alice, not for "/);
  assert.equal(about('bare-rights').length, 2);
});

test('a bastion warns by itself', async () => {
  const key = await certified('ending', '-n', user, '-V', '-100m:+1m');
  const log = new LogLines();
  const bastion = bastionFor(sshd, { login: login({ keys: [key] }), log });
  bastion.start();
  await bastion.whenReady();
  await bastion.stop();
  assert.ok(
    log.lines.some((line) => /^warn the certificate \S+ expires at/.test(line)),
    log.lines.join('\n'),
  );
});

test('a certificate is read as ssh-keygen wrote it, and none that is cut short or longer', async () => {
  const key = await certified('read', '-n', 'a,b', '-z', '18446744073709551615', '-V', '20300101:20310101');
  const certificate = parseCertificateFile(readFileSync(`${key}-cert.pub`, 'utf8'));
  const { type, keyType, purpose, serial, keyId, principals } = certificate;
  assert.deepEqual(
    { type, keyType, purpose, serial, keyId, principals },
    {
      type: 'ssh-ed25519-cert-v01@openssh.com',
      keyType: 'ssh-ed25519',
      purpose: 'user',
      serial: 18446744073709551615n,
      keyId: 'lab',
      principals: ['a', 'b'],
    },
  );
  assert.ok(certificate.extensions.has('permit-port-forwarding'));
  assert.equal(validity(certificate, certificate.validAfter), 'valid');
  assert.equal(validity(certificate, certificate.validBefore), 'expired');
  assert.equal(validity(certificate, certificate.validAfter - 1), 'early');
  for (let length = 1; length < certificate.blob.length; length++) {
    assert.throws(() => parseCertificate(certificate.blob.subarray(0, length)), /cut short|not known/);
  }
  assert.throws(() => parseCertificate(Buffer.concat([certificate.blob, Buffer.of(0)])), /data follows/);
  const forever = await certified('forever', '-n', user);
  const { validBefore } = parseCertificateFile(readFileSync(`${forever}-cert.pub`, 'utf8'));
  assert.equal(validBefore, Infinity);
});
