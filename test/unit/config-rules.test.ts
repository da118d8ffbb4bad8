/** Rules in the configuration: from the file, from flags and from the environment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../src/config/config.ts';
import { changes } from '../../src/config/changes.ts';
import { describeConfig } from '../../src/config/describe.ts';
import { loadConfig, loadHostConfig } from '../../src/config/load.ts';
import type { Loaded, Sources } from '../../src/config/load.ts';
import { ProblemsError } from '../../src/core/errors.ts';
import { ruleText } from '../../src/policy/rule.ts';

const BASTIONS = `bastions:
  - { name: a, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }
  - { name: b, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }
groups: [{ name: both, bastions: [a, b] }]
`;

interface Given {
  readonly rules?: string;
  readonly flags?: readonly string[];
  readonly env?: string;
}

function sources({ rules = '', flags = [], env }: Given): Sources {
  const files: Record<string, string> = { '/key': 'KEY', '/hosts': 'h ssh-ed25519 AAAA\n' };
  files['/c.yaml'] = `${BASTIONS}${rules}`;
  return {
    flags: new Map(flags.length === 0 ? [] : [['rule', flags.map((text) => ({ text, where: '--rule' }))]]),
    environment: { NETPROXY_CONFIG: '/c.yaml', ...(env === undefined ? {} : { NETPROXY_RULES: env }) },
    readFile: (path) => Buffer.from(files[path] ?? ''),
  };
}

const load = (given: Given): Promise<Loaded<Config>> => loadConfig(sources(given));

async function texts(given: Given): Promise<string[]> {
  return (await load(given)).config.rules.map((rule) => `${rule.where} ${ruleText(rule)}`);
}

async function problems(given: Given): Promise<string[]> {
  try {
    await load(given);
  } catch (error) {
    assert.ok(error instanceof ProblemsError, String(error));
    return error.problems.map(({ where, message }) => `${where}: ${message}`);
  }
  return [];
}

const ALL_KEYS = `rules:
  - { to: [10.20.0.0/16, "fd00::/8"], ports: [5432, 8000-8999], protocol: tcp, via: a }
  - names: ["*.corp.example", db, "/^x[0-9]+$/"]
    via: both
  - { uid: 1000, gid: [5, 6], process: curl, container: 0123456789ab, cgroup: /app/, via: direct }
  - { protocol: udp, ports: 123, via: relay }
  - { protocol: udp, via: "relay:b" }
  - { ports: 25, via: "reject:prohibited" }
  - { to: [0.0.0.0/0, "::/0"], via: reject }
  - { via: drop }
`;

test('every key of a rule, with its place', async () => {
  assert.deepEqual(await texts({ rules: ALL_KEYS }), [
    '/c.yaml:6 to 10.20.0.0/16 fd00::/8, ports 5432 8000-8999, protocol tcp, via a',
    '/c.yaml:7 names *.corp.example db /^x[0-9]+$/, via both',
    '/c.yaml:9 uid 1000, gid 5 6, process curl, container 0123456789ab, cgroup /app, via direct',
    '/c.yaml:10 ports 123, protocol udp, via relay',
    '/c.yaml:11 protocol udp, via relay:b',
    '/c.yaml:12 ports 25, via reject:prohibited',
    '/c.yaml:13 to 0.0.0.0/0 ::/0, via reject',
    '/c.yaml:14 via drop',
  ]);
});

test('flags and the environment take the place of the rules in the file', async () => {
  const env = '- { to: [10.0.0.0/8, 11.0.0.0/8], via: a }\n- via: reject\n';
  assert.deepEqual(await texts({ rules: ALL_KEYS, env }), [
    'NETPROXY_RULES:1 to 10.0.0.0/8 11.0.0.0/8, via a',
    'NETPROXY_RULES:2 via reject',
  ]);
  assert.deepEqual(await texts({ env: '[{ ports: 22, via: a }, { via: drop }]' }), [
    'NETPROXY_RULES:1 ports 22, via a',
    'NETPROXY_RULES:1 via drop',
  ]);
  const flags = ['to: "::1/128", ports: [1, 2-3], via: direct', '{ "names": ["x.y"], "via": "b" }'];
  assert.deepEqual(await texts({ rules: ALL_KEYS, env, flags }), [
    '--rule[0]:1 to ::1/128, ports 1 2-3, via direct',
    '--rule[1]:1 names x.y, via b',
  ]);
});

test('all that is wrong with rules is told at once, with its place', async () => {
  const rules = `rules:
  - { to: 10.0.0.1/8, ports: [0, 9-1, x], via: a }
  - { names: ["a b", "/(/", 10.0.0.1, "/a{60}{60}/"], via: c }
  - { to: [], uid: -1, via: relay, protocol: tcp }
  - { process: /bin/sh, container: web, cgroup: app, ports: 1 }
  - { tto: 1.2.3.4, via: "reject:maybe" }
  - single
  - { protocol: sctp, via: "relay:c" }
  - { protocol: icmp, ports: 443, uid: 5, via: direct }
`;
  const found = await problems({ rules });
  const expected = [
    ':6:11 rules[0].to: found "10.0.0.1/8": bits are set',
    ':6:31 rules[0].ports[0]: found "0"',
    ':6:34 rules[0].ports[1]: found "9-1": the range ends before it begins',
    ':6:39 rules[0].ports[2]: found "x"',
    'rules[1].names[0]: found "a b": not a host name',
    'rules[1].names[1]: found "/(/": not a regular expression',
    'rules[1].names[2]: found "10.0.0.1": an address is no name',
    'rules[1].names[3]: found "/a{60}{60}/": more than',
    'rules[1].via: found "c", which is no bastion or group; allowed: a, b, both, direct',
    'rules[2].to: the list is empty',
    'rules[2].uid: found "-1"',
    'rules[2].via: found relay with protocol tcp',
    'rules[3].process: found "/bin/sh"',
    'rules[3].container: found "web"',
    'rules[3].cgroup: found "app"',
    'rules[3]: via is missing',
    'rules[4].tto: no such key',
    'rules[4].via: found "reject:maybe"',
    'rules[5]: found a single value',
    'rules[6].protocol: found "sctp": not one of the words; allowed: tcp, udp, icmp',
    ':13:30 rules[7].ports: found ports with protocol icmp; pings have no ports',
    'rules[7].uid: found uid with protocol icmp; nobody knows who pings',
    'rules[6].via: found "c", which is no bastion',
  ];
  for (const each of expected)
    assert.ok(
      found.some((text) => text.includes(each)),
      `${each} in\n${found.join('\n')}`,
    );
  assert.match(
    (await problems({ flags: ['to: 1.2.3.4, vai: a'] })).join('\n'),
    /^--rule:1:\d+ rules\[0\]\.vai: no such key/,
  );
  assert.match(
    (await problems({ env: 'names: *.corp' })).join('\n'),
    /NETPROXY_RULES:1:\d+: found \*\.corp without quotes/,
  );
});

test('no bastion or group has a name that rules use', async () => {
  const file = sources({}).readFile!;
  const bad = {
    ...sources({}),
    readFile: (path: string) => Buffer.from(String(file(path)).replace('name: both', 'name: direct')),
  };
  await assert.rejects(loadConfig(bad), (error) => {
    assert.ok(error instanceof ProblemsError);
    assert.match(
      error.message,
      /groups\[0\]\.name: found "direct": the word has a meaning of its own in rules/,
    );
    return true;
  });
});

test('plan and release read rules without judging the names of bastions', async () => {
  const { config } = await loadHostConfig(sources({ rules: 'rules: [{ to: 10.0.0.0/8, via: elsewhere }]' }));
  assert.equal(config.rules.length, 1);
});

test('what is in effect shows the conditions that a rule has; a change of any is a change of "rules"', async () => {
  const one = await load({ rules: 'rules: [{ to: 10.0.0.0/8, ports: 1-2, via: "reject:prohibited" }]' });
  const shown = describeConfig(one).filter(({ key }) => key.startsWith('rules'));
  assert.deepEqual(shown, [
    { key: 'rules[0].to', value: ['10.0.0.0/8'], origin: '/c.yaml:5:15' },
    { key: 'rules[0].ports', value: ['1-2'], origin: '/c.yaml:5:34' },
    { key: 'rules[0].via', value: 'reject:prohibited', origin: '/c.yaml:5:44' },
  ]);
  const other = await load({ rules: 'rules: [{ to: 10.0.0.0/8, ports: 1-3, via: drop }]' });
  assert.deepEqual(changes(one.config, other.config), ['rules']);
});
