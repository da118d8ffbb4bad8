/** Ways to bastions through others, in the configuration. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { BastionConfig, Config } from '../../src/config/config.ts';
import { checkJumps } from '../../src/config/jumps.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Loaded } from '../../src/config/load.ts';
import { ProblemsError } from '../../src/core/errors.ts';
import type { Problem } from '../../src/core/errors.ts';
import { carriersOf, depthOf, groupsOf, lastResortOf } from '../../src/config/roles.ts';

const FILES: Readonly<Record<string, string>> = { '/key': 'KEY', '/hosts': 'h ssh-ed25519 AAAA\n' };
const CREDENTIALS = { NETPROXY_IDENTITY_FILE: '/key', NETPROXY_KNOWN_HOSTS_FILE: '/hosts' };

function load(file: string, env: Record<string, string> = {}): Promise<Loaded<Config>> {
  const files: Record<string, string> = { ...FILES, '/c.yaml': file };
  return loadConfig({
    flags: new Map(),
    environment: { ...CREDENTIALS, NETPROXY_CONFIG: '/c.yaml', ...env },
    readFile: (path) => Buffer.from(files[path] ?? ''),
  });
}

async function problemsOf(...given: Parameters<typeof load>): Promise<readonly Problem[]> {
  try {
    await load(...given);
  } catch (error) {
    assert.ok(error instanceof ProblemsError, String(error));
    return error.problems;
  }
  return [];
}

const file = (...bastions: string[]): string =>
  `bastions:\n${bastions.map((each) => `  - { host: h, user: u, ${each} }`).join('\n')}\n`;

test('a bastion that others are reached through carries no flows of its own', async () => {
  const { config } = await load(
    file('name: edge', 'name: inner, jump: edge', 'name: core, jump: inner', 'name: other'),
  );
  assert.deepEqual(
    config.bastions.map(({ name, jump }) => [name, jump]),
    [
      ['edge', undefined],
      ['inner', 'edge'],
      ['core', 'inner'],
      ['other', undefined],
    ],
  );
  assert.deepEqual(
    groupsOf(config).map(({ bastions }) => bastions),
    [['core', 'other']],
  );
  assert.deepEqual([...carriersOf(config)], ['core', 'other']);
  const jumpOf = (name: string): string | undefined =>
    config.bastions.find((bastion) => bastion.name === name)?.jump;
  assert.deepEqual(
    ['edge', 'inner', 'core', 'other'].map((name) => depthOf(name, jumpOf)),
    [0, 1, 2, 0],
  );
});

test('a hop that a group names carries flows as well', async () => {
  const { config } = await load(
    `${file('name: edge', 'name: inner, jump: edge')}groups: [{ name: both, bastions: [inner, edge] }]`,
  );
  assert.deepEqual([...carriersOf(config)].toSorted(), ['edge', 'inner']);
  assert.equal(lastResortOf(config), 'both');
  const ruled = await load(
    `${file('name: edge', 'name: inner, jump: edge')}rules: [{ to: 10.0.0.0/8, via: edge }]`,
  );
  assert.deepEqual([...carriersOf(ruled.config)], ['inner', 'edge']);
  assert.equal(lastResortOf(ruled.config), 'inner');
});

test('takes the hops of NETPROXY_JUMP as ssh -J does, in order, to each bastion', async () => {
  const { config, origins } = await load(file('name: ignored'), {
    NETPROXY_BASTION: 'ssh://u@inner,ssh://u@inner2',
    NETPROXY_JUMP: 'a@edge,ssh://b@[2001:db8::1]:2222',
  });
  assert.deepEqual(
    config.bastions.map(({ name, user, host, port, jump, identityFile }) => [
      ...[name, user, host, port, jump],
      ...identityFile,
    ]),
    [
      ['main', 'u', 'inner', 22, 'jump2', '/key'],
      ['main2', 'u', 'inner2', 22, 'jump2', '/key'],
      ['jump', 'a', 'edge', 22, undefined, '/key'],
      ['jump2', 'b', '2001:db8::1', 2222, 'jump', '/key'],
    ],
  );
  assert.deepEqual(
    [0, 2, 3].map((index) => origins.get(`bastions[${index}].jump`)),
    ['NETPROXY_JUMP', undefined, 'NETPROXY_JUMP'],
  );
  assert.deepEqual([...carriersOf(config)], ['main', 'main2']);
});

test('what is wrong with a way is told with the way', async () => {
  const wrong: [string, Record<string, string>, RegExp][] = [
    [
      file('name: a, jump: a'),
      {},
      /:2:\d+ bastions\[0\]\.jump \| found a loop: a -> a; allowed: .* \| Remove "jump"/,
    ],
    [
      file('name: x, jump: a', 'name: a, jump: b', 'name: b, jump: c', 'name: c, jump: a'),
      {},
      /:3:\d+ bastions\[1\]\.jump \| found a loop: a -> b -> c -> a;/,
    ],
    [
      file('name: edge', 'name: inner, jump: egde'),
      {},
      /:3:\d+ bastions\[1\]\.jump \| found "egde", which is no bastion; allowed: edge \| Did you mean edge\?/,
    ],
    [file('name: only, jump: other'), {}, /found "other", .*allowed: the name of another bastion \|/],
    [file('name: a'), { NETPROXY_JUMP: 'u@edge' }, /NETPROXY_JUMP \| found without --bastion/],
    ['', { NETPROXY_BASTION: 'ssh://u@h', NETPROXY_JUMP: 'edge' }, /NETPROXY_JUMP \| .*the user is missing/],
    [
      '',
      { NETPROXY_BASTION: 'ssh://u@h', NETPROXY_JUMP: 'u:secret@edge' },
      /^NETPROXY_JUMP \| a password in a URL/,
    ],
  ];
  for (const [text, env, pattern] of wrong) {
    const told = (await problemsOf(text, env)).map(
      ({ where, message, hint }) => `${where} | ${message} | ${hint}`,
    );
    assert.equal(told.length, 1, told.join('\n'));
    assert.match(told[0]!, pattern);
    assert.doesNotMatch(told[0]!, /secret/);
  }
});

test('of any bastions, what is not refused has a way without a loop to each', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const jumps = fc.array(fc.option(fc.constantFrom(...names, 'x'), { nil: undefined }), {
    minLength: 1,
    maxLength: names.length,
  });
  fc.assert(
    fc.property(jumps, (chosen) => {
      const problems: Problem[] = [];
      const placed = chosen.map((jump, index) => ({
        name: names[index]!,
        jump: jump === undefined ? undefined : { value: jump, where: 'file' },
      }));
      checkJumps(placed, problems);
      const sound = placed.every(({ name }) => endsWell(name, chosen));
      assert.equal(problems.length === 0, sound);
      if (!sound) return;
      const bastions = placed.map(({ name, jump }) => ({ name, jump: jump?.value }) as BastionConfig);
      const config = { bastions, groups: [], rules: [], groupPolicy: 'failover' } as unknown as Config;
      assert.ok(carriersOf(config).has(lastResortOf(config)) || groupsOf(config).length === 1);
    }),
  );
  function endsWell(name: string, chosen: readonly (string | undefined)[]): boolean {
    let at: string | undefined = name;
    for (let steps = 0; steps <= names.length; steps++) {
      const index = names.indexOf(at);
      if (index === -1 || index >= chosen.length) return false;
      at = chosen[index];
      if (at === undefined) return true;
    }
    return false;
  }
});
