import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { NetproxyError } from '../../src/core/errors.ts';
import { hostKeyAlgorithms } from '../../src/ssh/algorithms.ts';
import { fingerprint } from '../../src/ssh/fingerprint.ts';
import { KnownHosts, knownHostsLine } from '../../src/ssh/known-hosts.ts';

function ed25519(): Buffer {
  const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  const head = Buffer.from([0, 0, 0, 11, ...Buffer.from('ssh-ed25519'), 0, 0, 0, 32]);
  return Buffer.concat([head, Buffer.from(x!, 'base64url')]);
}

const KEY = ed25519();
const OTHER = ed25519();
const k = `ssh-ed25519 ${KEY.toString('base64')}`;

/** [line's names, host, port, found] */
const NAMES: readonly (readonly [string, string, number, boolean])[] = [
  ['bastion.example', 'bastion.example', 22, true],
  ['bastion.example', 'BASTION.example', 22, true],
  ['Bastion.Example', 'bastion.example', 22, true],
  ['bastion.example', 'bastion.example', 2222, true],
  ['[bastion.example]:2222', 'bastion.example', 2222, true],
  ['[bastion.example]:2222', 'bastion.example', 22, false],
  ['a,b,c', 'b', 22, true],
  ['*.example', 'bastion.example', 22, true],
  ['*.example', 'example', 22, false],
  ['192.168.0.?', '192.168.0.7', 22, true],
  ['192.168.0.?', '192.168.0.77', 22, false],
  ['*.example,!evil.example', 'evil.example', 22, false],
  ['!evil.example,*.example', 'good.example', 22, true],
  ['[*.example]:2222', 'x.example', 2222, true],
  ['2001:db8::1', '2001:db8::1', 22, true],
  ['[2001:db8::1]:2222', '2001:db8::1', 2222, true],
  ['a.b', 'axb', 22, false],
];

for (const [names, host, port, found] of NAMES) {
  test(`"${names}" ${found ? 'has' : 'has not'} a key for ${host} port ${port}`, () => {
    const known = KnownHosts.parse(`${names} ${k} comment with words\n`, 'f');
    assert.equal(known.check(host, port, KEY).result, found ? 'ok' : 'unknown');
    assert.equal(known.check(host, port, OTHER).result, found ? 'mismatch' : 'unknown');
  });
}

test('markers, comments and blank lines', () => {
  const text = ['# a comment', '', '  ', `@cert-authority *.example ${k}`, `@revoked * ${k}`, `h\t${k}`].join(
    '\r\n',
  );
  const known = KnownHosts.parse(text, 'f');
  assert.equal(known.check('h', 22, KEY).result, 'revoked');
  assert.equal(known.check('h', 22, OTHER).result, 'mismatch');
  // An authority's key is not a host key.
  assert.equal(known.check('x.example', 22, OTHER).result, 'certificate');
  assert.equal(known.wanted('x.example', 22).types.size, 0);
});

test('an entry for the port goes before one for the plain name', () => {
  const other = `ssh-ed25519 ${OTHER.toString('base64')}`;
  const known = KnownHosts.parse(`h ${k}\n[h]:2222 ${other}\n`, 'f');
  assert.equal(known.check('h', 2222, OTHER).result, 'ok');
  const verdict = known.check('h', 2222, KEY);
  assert.ok(verdict.result === 'mismatch');
  assert.deepEqual(
    verdict.expected.map((key) => key.where),
    ['f:2'],
  );
});

test('all bad lines are named at once', () => {
  const text = [
    'host',
    `@unknown h ${k}`,
    'h ssh-rsa AAAA',
    `h ssh-rsa ${KEY.toString('base64')}`,
    `|1|x ${k}`,
    `a,,b ${k}`,
    'h ssh-ed25519 %%%',
  ];
  try {
    KnownHosts.parse(text.join('\n'), 'dir/known_hosts');
    assert.fail('nothing was thrown');
  } catch (error) {
    assert.ok(error instanceof NetproxyError);
    assert.equal(error.code, 'KNOWN_HOSTS_INVALID');
    for (let line = 1; line <= text.length; line++)
      assert.match(error.message, new RegExp(`^dir/known_hosts:${line}: `, 'm'));
  }
  assert.throws(() => KnownHosts.read('/nonexistent/known_hosts'), { code: 'KNOWN_HOSTS_UNREADABLE' });
});

test('any name and port: the line that we print is understood, and only for that host', () => {
  const name = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?$/);
  fc.assert(
    fc.property(name, fc.integer({ min: 1, max: 65535 }), name, (host, port, another) => {
      const known = KnownHosts.parse(knownHostsLine(host, port, KEY), 'f');
      assert.equal(known.check(host, port, KEY).result, 'ok');
      assert.equal(known.check(host, port, OTHER).result, 'mismatch');
      if (another !== host) assert.equal(known.check(another, port, KEY).result, 'unknown');
    }),
  );
});

test('any text is either parsed or refused with our own error', () => {
  const piece = fc.constantFrom(
    '|1|',
    '@revoked ',
    '[',
    ']:22',
    '*',
    '!',
    ',',
    ' ',
    '\t',
    '\n',
    '#',
    k,
    'h',
    '?',
    '|',
    '(',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string()), { maxLength: 12 }), (pieces) => {
      try {
        KnownHosts.parse(pieces.join(''), 'f').check('h', 22, KEY);
      } catch (error) {
        assert.ok(error instanceof NetproxyError, String(error));
      }
    }),
  );
});

test('a file hashed by ssh-keygen says the same as the plain one, and fingerprints agree', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-known-'));
  const file = path.join(directory, 'known_hosts');
  const hosts: [string, number][] = [
    ['plain.example', 22],
    ['ported.example', 2222],
    ['192.0.2.7', 22],
    ['2001:db8::7', 2200],
  ];
  writeFileSync(file, `${hosts.map(([host, port]) => knownHostsLine(host, port, KEY)).join('\n')}\n`);
  execFileSync('ssh-keygen', ['-q', '-H', '-f', file], { stdio: 'ignore' });
  assert.doesNotMatch(readFileSync(file, 'utf8'), /example/);
  const known = KnownHosts.read(file);
  for (const [host, port] of hosts) assert.equal(known.check(host, port, KEY).result, 'ok', host);
  assert.equal(known.check('else.example', 22, KEY).result, 'unknown');
  const listed = execFileSync('ssh-keygen', ['-l', '-f', file]).toString();
  assert.ok(listed.includes(fingerprint(KEY)));
  rmSync(directory, { recursive: true });
});

test('host key algorithms of known types come first', () => {
  const ordered = (...types: string[]): readonly string[] =>
    hostKeyAlgorithms({ types: new Set(types), certificates: false });
  assert.deepEqual(ordered('ssh-rsa').slice(0, 2), ['rsa-sha2-512', 'rsa-sha2-256']);
  assert.equal(ordered('ecdsa-sha2-nistp384')[0], 'ecdsa-sha2-nistp384');
  assert.equal(ordered().length, ordered('ssh-rsa').length);
});
