/** Settings that say which server is the right one, and by what it is talked to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { changes } from '../../src/config/changes.ts';
import type { BastionConfig, Config } from '../../src/config/config.ts';
import { hostKey } from '../../src/config/host-key-kind.ts';
import { BadValue } from '../../src/config/kind.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { SettingId } from '../../src/config/settings.ts';
import { CIPHERS } from '../../src/core/algorithms.ts';
import { ProblemsError } from '../../src/core/errors.ts';
import type { Problem } from '../../src/core/errors.ts';

const KEY = `ssh-ed25519 ${Buffer.concat([
  Buffer.from([0, 0, 0, 11]),
  Buffer.from('ssh-ed25519'),
  Buffer.from([0, 0, 0, 32]),
  Buffer.alloc(32, 7),
]).toString('base64')}`;
const PRINT = `SHA256:${'a'.repeat(43)}`;

interface Given {
  readonly flags?: Partial<Record<SettingId, readonly string[]>>;
  readonly env?: Record<string, string>;
  readonly yaml?: string;
}

async function load({ flags = {}, env = {}, yaml }: Given): Promise<Config> {
  const all = {
    'bastions[].identityFile': ['/key'],
    ...(yaml === undefined ? { bastion: ['ssh://u@h'] } : { config: ['/c.yaml'] }),
    ...flags,
  };
  const { config } = await loadConfig({
    flags: new Map(
      Object.entries(all).map(([id, texts]) => [
        id as SettingId,
        texts.map((text) => ({ text, where: `--${id}` })),
      ]),
    ),
    environment: env,
    readFile: (path) => Buffer.from(path === '/c.yaml' ? yaml! : path.endsWith('-cert.pub') ? '' : 'x'),
  });
  return config;
}

async function problemsOf(given: Given): Promise<readonly Problem[]> {
  try {
    await load(given);
  } catch (error) {
    assert.ok(error instanceof ProblemsError, String(error));
    return error.problems;
  }
  return [];
}

const fileWith = (rest: string): string => `bastions:\n  - { name: a, host: h, user: u, ${rest} }\n`;

test('without anything to know the server by there is exactly one error, which names every way', async () => {
  for (const given of [{}, { yaml: fileWith('port: 22') }, { yaml: fileWith('hostKeys: []') }]) {
    const problems = await problemsOf(given);
    assert.equal(problems.length, 1, JSON.stringify(problems));
    assert.match(problems[0]!.message, /knownHostsFile is missing; .* hostKeys, tofu/);
    assert.match(problems[0]!.hint!, /--known-hosts FILE/);
  }
});

test('each way is enough, by flag, variable and file', async () => {
  const bastions = await Promise.all(
    [
      { flags: { 'bastions[].hostKeys': [`${KEY} a comment`, PRINT] } },
      { env: { NETPROXY_HOST_KEYS: `${KEY}, ${PRINT}` } },
      { yaml: fileWith(`hostKeys: ["${KEY}", "${PRINT}"]`) },
    ].map(async (given) => (await load(given)).bastions[0]!),
  );
  for (const { hostKeys, knownHostsFile, credentials } of bastions) {
    assert.deepEqual([hostKeys, knownHostsFile], [[KEY, PRINT], []]);
    assert.deepEqual(
      credentials.pins.map(({ text }) => text),
      [KEY, PRINT],
    );
  }
  assert.equal(bastions[2]!.credentials.pins[1]!.where, '/c.yaml:2:129 bastions[0].hostKeys[1]');
  for (const given of [
    { flags: { 'bastions[].tofu': ['/t'] } },
    { env: { NETPROXY_TOFU_FILE: '/t' } },
    { yaml: fileWith('tofu: /t') },
  ] as Given[]) {
    assert.equal((await load(given)).bastions[0]!.tofu, '/t');
  }
});

test('algorithms of a bastion, by flag, variable and file; unknown ones list what is allowed', async () => {
  const wanted: BastionConfig['algorithms'] = {
    ciphers: ['chacha20-poly1305@openssh.com', 'aes256-ctr'],
    macs: ['hmac-sha2-512'],
    kex: [],
    hostKeys: ['ssh-ed25519'],
  };
  for (const given of [
    {
      flags: {
        'bastions[].tofu': ['/t'],
        'bastions[].algorithms.ciphers': wanted.ciphers,
        'bastions[].algorithms.macs': wanted.macs,
        'bastions[].algorithms.hostKeys': wanted.hostKeys,
      },
    },
    {
      env: {
        NETPROXY_TOFU_FILE: '/t',
        NETPROXY_CIPHERS: wanted.ciphers.join(','),
        NETPROXY_MACS: 'hmac-sha2-512',
        NETPROXY_HOST_KEY_ALGORITHMS: 'ssh-ed25519',
      },
    },
    {
      yaml: fileWith(
        `tofu: /t, algorithms: { ciphers: [${wanted.ciphers.join(', ')}], macs: hmac-sha2-512, hostKeys: [ssh-ed25519] }`,
      ),
    },
  ] as Given[]) {
    assert.deepEqual((await load(given)).bastions[0]!.algorithms, wanted);
  }
  const problems = await problemsOf({
    yaml: fileWith('tofu: /t, algorithms: { ciphers: [3des-cbc], kexs: [x], macs: [hmac-sha1] }'),
  });
  assert.deepEqual(
    problems.map(({ where }) => where.replace(/^\S+ /, '')),
    ['bastions[0].algorithms.kexs', 'bastions[0].algorithms.ciphers[0]', 'bastions[0].algorithms.macs[0]'],
  );
  assert.ok(problems[1]!.message.includes(`allowed: ${CIPHERS.join(', ')}`));
  const [flat] = await problemsOf({ yaml: fileWith('tofu: /t, algorithms: [aes128-ctr]') });
  assert.match(flat!.message, /allowed: the keys ciphers, macs, kex, hostKeys/);
});

test('a pin that moves in the file is no change, another one is', async () => {
  const yaml = fileWith(`hostKeys: ["${PRINT}"]`);
  const [before, moved, other] = await Promise.all(
    [yaml, `# a comment\n${yaml}`, yaml.replace(PRINT, KEY)].map((text) => load({ yaml: text })),
  );
  assert.deepEqual(changes(before!, moved!), []);
  assert.deepEqual(changes(before!, other!), ['bastions[0].hostKeys']);
});

test('what is no key and no fingerprint is refused with what it is', () => {
  for (const [text, why] of [
    [`SHA256:${'a'.repeat(42)}`, /43 characters/],
    ['MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff', /MD5/],
    ['ssh-dss AAAA', /not a key of the types/],
    ['ssh-ed25519', /not valid base64/],
    [KEY.slice(0, -3), /not valid base64/],
    [KEY.replace('ssh-ed25519', 'ssh-rsa'), /not one of the type ssh-rsa/],
    ['h.example ssh-ed25519 AAAA', /not a key of the types/],
  ] as const) {
    assert.throws(
      () => hostKey.parse(text),
      (error) => error instanceof BadValue && why.test(error.message),
      text,
    );
  }
  assert.equal(hostKey.parse(`ssh-rsa ${PRINT}`), `ssh-rsa ${PRINT}`);
  const piece = fc.constantFrom('ssh-ed25519', 'ssh-rsa', ' ', PRINT, 'SHA256:', 'AAAA', '=', '\0', KEY);
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string()), { maxLength: 6 }), (pieces) => {
      try {
        assert.equal(hostKey.parse(hostKey.parse(pieces.join(''))), hostKey.parse(pieces.join('')));
      } catch (error) {
        assert.ok(error instanceof BadValue, String(error));
      }
    }),
  );
});
