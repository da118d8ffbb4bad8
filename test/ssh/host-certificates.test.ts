/** Host certificates: of real servers, and judged by themselves. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import * as fc from 'fast-check';
import { NetproxyError } from '../../src/core/errors.ts';
import { parseCertificate } from '../../src/ssh/certificate.ts';
import { certificateFault } from '../../src/ssh/host-certificate.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { makeKey, SSHD_BUILDS, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import {
  MIB,
  PatternSink,
  PatternSource,
  bastionFor,
  connected,
  listen,
  open,
  patternServer,
} from './harness.ts';
import { release } from './harness.ts';
import { certify } from './login-lab.ts';

const AUTHORITIES = [
  ['ed25519', []],
  ['ecdsa', ['-b', '256']],
  ['ecdsa', ['-b', '384']],
  ['ecdsa', ['-b', '521']],
  ['rsa', ['-b', '2048']],
] as const;

let sshd: Sshd;
const file = (name: string): string => path.join(sshd.directory, name);
const publicKey = (name: string): string =>
  readFileSync(file(`${name}.pub`), 'utf8')
    .split(' ')
    .slice(0, 2)
    .join(' ');

before(async () => {
  sshd = await startSshd({ start: false });
  for (const [type, options] of AUTHORITIES) {
    const name = ['ca', type, ...options].join('');
    execFileSync('ssh-keygen', ['-q', '-t', type, ...options, '-N', '', '-f', file(name)]);
  }
  await makeKey(file('other'));
});

afterEach(release);
after(() => sshd.stop());

const CA = 'caed25519';

/** A server whose host key of `type` is signed by `authority`. */
async function certified(
  authority: string,
  type: readonly string[],
  options: readonly string[],
  build = SSHD_BUILDS[0]!,
): Promise<Sshd> {
  const server = await startSshd({ start: false, build });
  const key = path.join(server.directory, 'signed');
  const [kind = '', ...rest] = type;
  execFileSync('ssh-keygen', ['-q', '-t', kind, ...rest, '-N', '', '-f', key]);
  certify(file(authority), key, '-h', ...options);
  const config = readFileSync(server.configFile, 'utf8').replace(/^HostKey .*$/m, `HostKey ${key}`);
  writeFileSync(server.configFile, `${config}\nHostCertificate ${key}-cert.pub\n`);
  await server.start();
  return server;
}

const trusted = (server: Sshd, ...lines: readonly string[]): KnownHosts =>
  KnownHosts.parse(
    [`@cert-authority [127.0.0.1]:${server.port} ${publicKey(CA)}`, ...lines].join('\n'),
    'known_hosts',
  );

async function refusal(server: Sshd, knownHosts: KnownHosts): Promise<NetproxyError> {
  const bastion = bastionFor(server, { knownHosts });
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

for (const build of SSHD_BUILDS) {
  for (const type of [['ed25519'], ['ecdsa', '-b', '384'], ['rsa', '-b', '2048']]) {
    test(`a certificate of ${type.join(' ')} is accepted from the OpenSSH of ${build.name}, after new keys too`, async (t) => {
      const server = await certified(CA, type, ['-n', '127.0.0.?', '-V', '+1h'], build);
      t.after(() => server.stop());
      const bastion = await connected(server, { knownHosts: trusted(server), rekeyIntervalMs: 50 });
      const total = 8 * MIB;
      const target = await listen(patternServer(total, []));
      const sink = new PatternSink();
      const { ended } = await open(bastion, target.endpoint, new PatternSource(total), sink);
      assert.equal(await ended, 'finished');
      assert.deepEqual([sink.check.bytes, sink.check.wrongAt], [total, undefined]);
    });
  }
}

test('every kind of authority is verified, and a changed certificate is not', async () => {
  await makeKey(file('subject'));
  for (const [type, options] of AUTHORITIES) {
    const authority = ['ca', type, ...options].join('');
    certify(file(authority), file('subject'), '-h', '-n', 'h.example', '-V', '+1h');
    const blob = Buffer.from(readFileSync(file('subject-cert.pub'), 'utf8').split(' ')[1]!, 'base64');
    const judge = (bytes: Buffer): string | undefined =>
      certificateFault(parseCertificate(bytes), 'h.example', Date.now());
    assert.equal(judge(blob), undefined, authority);
    // The nonce: what it holds matters to nobody but the signature.
    blob[45]! ^= 1;
    assert.match(judge(blob)!, /its signature is not that of its authority/, authority);
  }
});

/** [options for ssh-keygen, what the error says] */
const FAULTS: readonly (readonly [readonly string[], RegExp])[] = [
  [['-n', 'other.example', '-V', '+1h'], /it is for other\.example, not for 127\.0\.0\.1/],
  [['-n', '127.0.0.1', '-V', '20200101:20200201'], /it expired at 2020-0/],
  [['-n', '127.0.0.1', '-V', '20990101:20990201'], /it is not valid before 209/],
  [['-n', '127.0.0.1', '-O', 'critical:x@example.com=y'], /the critical option "x@example\.com"/],
];

for (const [options, wanted] of FAULTS) {
  test(`refused by name: a certificate with ${options.join(' ')}`, async (t) => {
    const server = await certified(CA, ['ed25519'], options);
    t.after(() => server.stop());
    const error = await refusal(server, trusted(server));
    assert.equal(error.code, 'HOST_CERTIFICATE_REFUSED');
    assert.match(error.message, wanted);
    assert.match(error.message, /authority at known_hosts:1/);
    // As with OpenSSH, the plain key of the same server is good where it is known.
    const key = readFileSync(path.join(server.directory, 'signed.pub'), 'utf8');
    const both = trusted(server, `[127.0.0.1]:${server.port} ${key}`);
    await (await connected(server, { knownHosts: both })).stop();
  });
}

test('another authority, a revoked one, and a server without certificate are told apart', async (t) => {
  const server = await certified('other', ['ed25519'], ['-n', '127.0.0.1']);
  t.after(() => server.stop());
  const other = await refusal(server, trusted(server));
  assert.equal(other.code, 'HOST_CERTIFICATE_REFUSED');
  assert.match(other.message, /signed by SHA256:\S+, and not by SHA256:/);

  const name = `[127.0.0.1]:${server.port}`;
  const lines = [`@cert-authority ${name} ${publicKey('other')}`, `@revoked ${name} ${publicKey('other')}`];
  const revoked = await refusal(server, KnownHosts.parse(lines.join('\n'), 'known_hosts'));
  assert.equal(revoked.code, 'HOST_KEY_REVOKED');
  assert.match(revoked.message, /known_hosts:2/);

  const plain = await startSshd();
  t.after(() => plain.stop());
  const none = await refusal(plain, trusted(plain));
  assert.equal(none.code, 'HOST_CERTIFICATE_REFUSED');
  assert.match(none.message, /there is none/);
  const known = trusted(plain, readFileSync(plain.knownHostsFile, 'utf8'));
  await (await connected(plain, { knownHosts: known })).stop();
});

test('OpenSSH judges the same servers alike', async (t) => {
  for (const [options, accepted] of [
    [['-n', '127.0.0.1,x.example', '-V', '+1h'], true],
    [['-n', '127.0.0.2'], false],
    [['-n', '127.0.0.1', '-V', '20200101:20200201'], false],
  ] as const) {
    const server = await certified(CA, ['ed25519'], options);
    t.after(() => server.stop());
    writeFileSync(file('hosts'), `@cert-authority [127.0.0.1]:${server.port} ${publicKey(CA)}\n`);
    const ssh = ['-F', 'none', '-o', 'PreferredAuthentications=none', '-p', String(server.port)];
    ssh.push('-o', `UserKnownHostsFile=${file('hosts')}`, '-o', 'GlobalKnownHostsFile=none');
    ssh.push('-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=yes', `${server.user}@127.0.0.1`);
    // It gets as far as being refused, or not even there.
    const { stderr } = spawnSync('ssh', ssh, { encoding: 'utf8', input: '' });
    const theirs = /Permission denied/.test(stderr);
    assert.ok(theirs || /Host key verification failed/.test(stderr), stderr);
    const bastion = bastionFor(server, { knownHosts: trusted(server) });
    bastion.start();
    const ours = await bastion.whenReady().then(
      () => true,
      () => false,
    );
    await bastion.stop();
    assert.deepEqual([theirs, ours], [accepted, accepted], `${options.join(' ')}\n${stderr}`);
  }
});

test('any bytes that call themselves a certificate are refused, not thrown over', async () => {
  await makeKey(file('fuzzed'));
  certify(file(CA), file('fuzzed'), '-h', '-n', 'h');
  const blob = Buffer.from(readFileSync(file('fuzzed-cert.pub'), 'utf8').split(' ')[1]!, 'base64');
  const known = KnownHosts.parse(`@cert-authority h ${publicKey(CA)}`, 'f');
  assert.equal(known.check('h', 22, blob).result, 'ok');
  const edits = fc.array(fc.tuple(fc.nat(blob.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(edits, fc.nat(blob.length), (list, length) => {
      const bytes = Buffer.from(blob);
      for (const [at, value] of list) bytes[at] = value;
      const { result } = known.check('h', 22, bytes);
      if (!bytes.equals(blob)) assert.notEqual(result, 'ok');
      if (length < blob.length) assert.notEqual(known.check('h', 22, blob.subarray(0, length)).result, 'ok');
    }),
    { numRuns: 2000 },
  );
});
