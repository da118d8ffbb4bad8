/** Several bastions, and groups of them, in the configuration. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../src/config/config.ts';
import { describeConfig } from '../../src/config/describe.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Loaded } from '../../src/config/load.ts';
import type { SettingId } from '../../src/config/settings.ts';
import { ProblemsError } from '../../src/core/errors.ts';
import type { Problem } from '../../src/core/errors.ts';

interface Given {
  readonly file?: string;
  readonly flags?: Partial<Record<SettingId, string>>;
  readonly env?: Record<string, string>;
}

const FILES: Readonly<Record<string, string>> = { '/key': 'KEY', '/hosts': 'h ssh-ed25519 AAAA\n' };

function load({ file = '', flags = {}, env = {} }: Given): Promise<Loaded<Config>> {
  const files: Record<string, string> = { ...FILES, '/c.yaml': file };
  return loadConfig({
    flags: new Map(
      Object.entries(flags).map(([id, text]) => [id as SettingId, [{ text, where: `flag of ${id}` }]]),
    ),
    environment: { NETPROXY_CONFIG: '/c.yaml', ...env },
    readFile: (path) => Buffer.from(files[path] ?? ''),
  });
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

test('takes several --bastion, each with a name of its own, in place of bastions and groups', async () => {
  const file = `bastions: [{ name: a, host: h, user: u }]
groups: [{ name: g, bastions: [a] }]`;
  const rest = { 'bastions[].identityFile': '/key', 'bastions[].knownHostsFile': '/hosts' } as const;
  const { config, origins } = await load({
    file,
    flags: rest,
    env: { NETPROXY_BASTION: 'ssh://u@one,ssh://u@two:2222', NETPROXY_GROUP_POLICY: 'round-robin' },
  });
  assert.deepEqual(
    config.bastions.map(({ name, host, port }) => [name, host, port]),
    [
      ['main', 'one', 22],
      ['main2', 'two', 2222],
    ],
  );
  assert.deepEqual([config.groups, config.groupPolicy], [[], 'round-robin']);
  assert.equal(origins.get('bastions[1].host'), 'NETPROXY_BASTION');
});

test('has groups of bastions, whose policy one flag sets for all', async () => {
  const file = `bastions:
  - { name: a, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }
  - { name: b, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }
groups:
  - { name: both, bastions: [b, a], policy: least-latency }
  - { name: one, bastions: a }`;
  const { config } = await load({ file });
  assert.deepEqual(config.groups, [
    { name: 'both', bastions: ['b', 'a'], policy: 'least-latency' },
    { name: 'one', bastions: ['a'], policy: 'failover' },
  ]);
  const flagged = await load({ file, flags: { 'groups[].policy': 'round-robin' } });
  assert.deepEqual(
    flagged.config.groups.map(({ policy }) => policy),
    ['round-robin', 'round-robin'],
  );
  const described = describeConfig(flagged);
  assert.deepEqual(
    described.find(({ key }) => key === 'groups[0].policy'),
    { key: 'groups[0].policy', value: 'round-robin', origin: 'flag of groups[].policy' },
  );
});

test('of groups is told with its place', async () => {
  const problems = await problemsOf({
    file: `bastions: [{ name: alpha, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }]
groups:
  - { name: alpha, bastions: [alhpa, alpha, alpha] }
  - { bastions: [], policy: random }
  - { name: g }
  - { name: g, bastions: [beta] }`,
  });
  const told = problems.map(({ where, message, hint }) => `${where} | ${message} | ${hint}`);
  const expected = [
    /:3:13 groups\[0\]\.name \| found "alpha", which is the name of another group or bastion/,
    /:4:5 groups\[1\] \| name is missing/,
    /:4:5 groups\[1\] \| bastions is missing/,
    /groups\[1\]\.policy \| found "random": .*allowed: failover, least-latency, round-robin/,
    /:5:5 groups\[2\] \| bastions is missing/,
    /:6:13 groups\[3\]\.name \| found "g", which is the name of another group or bastion/,
    /groups\[0\]\.bastions\[0\] \| found "alhpa", which is no bastion; allowed: alpha \| Did you mean alpha\?/,
    /groups\[0\]\.bastions\[2\] \| found "alpha" a second time/,
    /groups\[3\]\.bastions\[0\] \| found "beta", which is no bastion/,
  ];
  assert.equal(told.length, expected.length, told.join('\n'));
  for (const [index, pattern] of expected.entries()) assert.match(told[index]!, pattern);
});

test('resolvers of the far end may be those of a bastion or group, which has to be there', async () => {
  const file = `bastions: [{ name: a, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }]
groups: [{ name: g, bastions: [a] }]
`;
  const loaded = await load({
    file: `${file}dns: { upstream: [10.0.0.2, "a=10.0.0.3:5353", "g=2001:db8::1"] }`,
  });
  assert.deepEqual(loaded.config.dns.upstream, [
    { upstream: undefined, address: '10.0.0.2', port: 53 },
    { upstream: 'a', address: '10.0.0.3', port: 5353 },
    { upstream: 'g', address: '2001:db8::1', port: 53 },
  ]);
  assert.match(JSON.stringify(describeConfig(loaded)), /g=\[2001:db8::1\]:53/);
  const problems = await problemsOf({ file: `${file}dns: { upstream: ["office=10.0.0.2", "a=b"] }` });
  assert.deepEqual(
    problems.map(({ where, message }) => [where, message.split(';')[0]]),
    [
      ['/c.yaml:3:38 dns.upstream[1]', 'found "a=b": not an address'],
      ['/c.yaml:3:19 dns.upstream[0]', 'found "office", which is no bastion or group'],
    ],
  );
});
