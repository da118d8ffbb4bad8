import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Config } from '../../src/config/config.ts';
import { LABELS, readLabels, withLastResort } from '../../src/config/labels.ts';
import { SETTINGS } from '../../src/config/settings.ts';

describe('labels', () => {
  test('give settings, named by container and label', () => {
    const { flags, lastResort, problems } = readLabels(
      {
        'netproxy.enable': 'true',
        'netproxy.bastion': 'ssh://a@x, ssh://b@y',
        'netproxy.local': '10.0.0.0/8,192.0.2.0/24',
        'netproxy.rules': '[{ to: 10.1.0.0/16, via: direct }, { to: 0.0.0.0/0, via: main }]',
        'netproxy.dns.local': 'corp.test',
        'com.example': 'netproxy.local',
        netproxyx: 'other',
      },
      'web',
    );
    assert.deepEqual(problems, []);
    assert.equal(lastResort, undefined);
    assert.deepEqual(
      [...flags].map(([id, given]) => [id, given.map(({ text }) => text)]),
      [
        ['bastion', ['ssh://a@x', ' ssh://b@y']],
        ['local', ['10.0.0.0/8', '192.0.2.0/24']],
        ['rule', ['[{ to: 10.1.0.0/16, via: direct }, { to: 0.0.0.0/0, via: main }]']],
        ['dns.local', ['corp.test']],
      ],
    );
    assert.equal(flags.get('local')?.[0]?.where, 'container web, label netproxy.local');
  });

  test('that are wrong are told with the container, and what is meant', () => {
    const { problems } = readLabels(
      { 'netproxy.enable': 'yes', 'netproxy.bastoin': 'x', 'netproxy.identityFile': '/etc/shadow' },
      'web',
    );
    assert.deepEqual(
      problems.map(({ where, hint }) => [where, hint]),
      [
        ['container web, label netproxy.enable', 'Write netproxy.enable=true.'],
        ['container web, label netproxy.bastoin', 'Did you mean netproxy.bastion?'],
        [
          'container web, label netproxy.identityFile',
          `Remove it; allowed: ${[...LABELS.keys()].join(', ')}.`,
        ],
      ],
    );
  });

  test('say neither how to log in nor which server is the right one', () => {
    for (const id of LABELS.values()) {
      assert.notEqual(SETTINGS.get(id)?.secret, true, id);
      assert.doesNotMatch(
        id,
        /identity|password|agent|auth|known|hostKey|tofu|sshConfig|^config$|jump|File/,
        id,
      );
    }
  });
});

describe('the last resort of a container', () => {
  const bastion = (name: string, jump?: string): object => ({ name, jump });
  const rule = (upstream: string): object => ({ via: { kind: 'upstream', upstream } });
  const config = {
    bastions: [bastion('a'), bastion('b', 'hop'), bastion('hop', 'edge'), bastion('edge'), bastion('c')],
    groups: [
      { name: 'all', bastions: ['a', 'b'], policy: 'failover' },
      { name: 'spare', bastions: ['c'], policy: 'round-robin' },
    ],
    groupPolicy: 'failover',
    rules: [],
  } as unknown as Config;
  const choose = (text: string, of: Config = config): Config => {
    const chosen = withLastResort(of, { text, where: 'there' });
    assert.ok(!('code' in chosen), JSON.stringify(chosen));
    return chosen;
  };
  const names = (list: readonly { name: string }[]): string[] => list.map(({ name }) => name);

  test('stays without a label', () => {
    assert.equal(withLastResort(config, undefined), config);
  });

  test('is the bastion or group that is named, with the bastions on the way to it and no others', () => {
    const one = choose('b');
    assert.deepEqual(one.groups[0]?.bastions, ['b']);
    assert.deepEqual(names(one.bastions), ['b', 'hop', 'edge']);
    const group = choose('spare');
    assert.deepEqual([names(group.groups), names(group.bastions)], [['spare'], ['c']]);
  });

  test('leaves what rules lead to', () => {
    const ruled = { ...config, rules: [rule('a'), rule('spare')] } as unknown as Config;
    const one = choose('b', ruled);
    assert.deepEqual(names(one.groups), ['only b', 'spare']);
    assert.deepEqual(names(one.bastions), ['a', 'b', 'hop', 'edge', 'c']);
  });

  test('is told when there is none of this name', () => {
    const problem = withLastResort(config, { text: 'spaer', where: 'container web, label netproxy.bastion' });
    assert.ok('code' in problem);
    assert.equal(problem.where, 'container web, label netproxy.bastion');
    assert.match(problem.message, /allowed: all, spare, a, b, hop, edge, c, or ssh:/);
    assert.equal(problem.hint, 'Did you mean spare?');
  });
});
