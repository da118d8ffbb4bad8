import assert from 'node:assert/strict';
import { BlockList, isIP } from 'node:net';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import * as kind from '../../src/config/kind.ts';
import type { Kind } from '../../src/config/kind.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { parseCidr } from '../../src/core/cidr.ts';
import { suggest } from '../../src/core/suggest.ts';

function refused(of: Kind<unknown>, texts: readonly string[]): void {
  for (const text of texts) assert.throws(() => of.parse(text), kind.BadValue, JSON.stringify(text));
}

test('every default of the table is a value of its kind, in the form that is printed', () => {
  for (const [id, row] of SETTINGS) {
    if (row.default === undefined) continue;
    const value = row.kind.parse(row.default);
    assert.equal(row.kind.format?.(value) ?? String(value), row.default, id);
  }
});

test('flags, variables and keys of the table are unique and in one style', () => {
  const rows = [...SETTINGS.values()];
  for (const [column, style] of [
    ['key', /^[a-z][A-Za-z0-9]*(\[\])?(\.[a-z][A-Za-z0-9]*){0,2}$/],
    ['flag', /^[a-z][a-z0-9-]*$/],
    ['env', /^NETPROXY_[A-Z0-9_]+$/],
  ] as const) {
    const names = rows.flatMap((row) => row[column] ?? []);
    assert.equal(new Set(names).size, names.length);
    for (const name of names) assert.match(name, style);
  }
  for (const row of rows) assert.match(row.description, /^[A-Zk].*\.$/);
});

describe('durations', () => {
  const any = kind.duration(0, Number.MAX_SAFE_INTEGER);

  test('read back as they are written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e12 }), (ms) => any.parse(kind.durationText(ms)) === ms),
    );
  });

  test('are sums of amounts with units', () => {
    assert.equal(any.parse('1h2m3s4ms'), 3_723_004);
    assert.equal(any.parse('90s'), 90_000);
    assert.equal(kind.durationText(90_000), '1m30s');
  });

  test('are refused without a unit, with an unknown one, negative or out of range', () => {
    refused(any, ['10', '0', '10.5s', '-1s', '10 s', '10d', 's', '1s!', '', ' ']);
    refused(kind.duration(1000, 2000), ['999ms', '2001ms', '99999999999999999999999h']);
  });
});

describe('networks', () => {
  const address4 = fc.ipV4();
  const address6 = fc.ipV6();

  test('contain the address that they were made of, and agree with the block list of Node', () => {
    const cases = fc.oneof(
      fc.tuple(address4, fc.integer({ min: 0, max: 32 }), address4),
      fc.tuple(address6, fc.integer({ min: 0, max: 128 }), address6),
    );
    fc.assert(
      fc.property(cases, ([address, prefix, other]) => {
        const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
        const parsed = parseCidr(`${address}/${prefix}`) ?? assert.fail();
        const again = parseCidr(parsed.network) ?? assert.fail();
        assert.equal(again.text, again.network);
        const [wanted, got] = [new BlockList(), new BlockList()];
        wanted.addSubnet(address, prefix, family);
        got.addSubnet(again.address, prefix, family);
        assert.ok(got.check(address, family));
        assert.equal(got.check(other, family), wanted.check(other, family));
      }),
      { numRuns: 300 },
    );
  });

  test('come out canonical', () => {
    assert.equal(kind.destination.parse('FD00:0:0::/8'), 'fd00::/8');
    assert.equal(kind.destination.parse('10.1.2.3'), '10.1.2.3/32');
    assert.equal(kind.destination.parse('::ffff:1.2.3.4'), '::ffff:1.2.3.4/128');
    assert.equal(kind.destination.parse('0.0.0.0/0'), '0.0.0.0/0');
    assert.equal(parseCidr('2001:db8::5/64')?.network, '2001:db8::/64');
  });

  test('may be followed by ports, in one spelling', () => {
    const parse = (text: string): string => kind.destination.parse(text);
    assert.equal(parse('10.0.0.5:5432'), '10.0.0.5/32:5432');
    assert.equal(parse('10.0.0.0/8:8000-8000/tcp'), '10.0.0.0/8:8000/tcp');
    assert.equal(parse('[FD00::/8]:53-54/udp'), '[fd00::/8]:53-54/udp');
    for (const text of ['10.0.0.5/32:5432', '[fd00::/8]:53-54/udp']) assert.equal(parse(text), text);
    refused(kind.destination, [
      '10.0.0.5:0',
      '10.0.0.5:65536',
      '10.0.0.5:9-8',
      '10.0.0.5:',
      '10.0.0.5/tcp',
      '10.0.0.5:1/icmp',
      '[10.0.0.5]:1',
      '[fd00::]',
      '10.0.0.1/8:80',
    ]);
  });

  test('are refused when they are not, or when bits are set after the prefix', () => {
    refused(kind.destination, [
      '10.0.0.1/8',
      '10.0.0.0/33',
      '10.0/8',
      '10.0.0.0/',
      '10.0.0.0/08',
      '::/129',
      'fe80::1%eth0',
      'x',
      '1/2/3',
      '',
    ]);
  });

  test('of interfaces name an address and leave room for another', () => {
    assert.equal(kind.interfaceAddress(4).parse('10.0.0.1/30'), '10.0.0.1/30');
    refused(kind.interfaceAddress(4), ['10.0.0.1', '10.0.0.1/31', '10.0.0.0/30', 'fd00::1/64', '1.2.3.4/0']);
    refused(kind.interfaceAddress(6), ['fd00::1', 'fd00::1/127', 'fd00::/64', '10.0.0.1/30']);
  });
});

describe('URLs of bastions', () => {
  test('read back what they were made of', () => {
    const host = fc.oneof(
      fc.constantFrom('bastion.example', 'b', 'a-b_c.d'),
      fc.ipV4(),
      fc.ipV6().map((text) => `[${text}]`),
    );
    const user = fc.stringMatching(/^[A-Za-z0-9_.+@\\%äö-]{1,20}$/).filter((text) => !text.startsWith('-'));
    fc.assert(
      fc.property(user, host, fc.option(fc.integer({ min: 1, max: 65_535 })), (user, host, port) => {
        const url = `ssh://${encodeURIComponent(user)}@${host}${port === null ? '' : `:${port}`}`;
        assert.deepEqual(kind.bastionUrl.parse(url), {
          user,
          host: host.replace(/^\[|\]$/g, ''),
          port: port ?? undefined,
        });
      }),
    );
  });

  test('are refused when a part is missing, wrong or too much', () => {
    refused(kind.bastionUrl, [
      'bastion.example',
      'u@h',
      'ssh://@h',
      'ssh://u@',
      'ssh://u@:22',
      'ssh://u@h:',
      'ssh://u@h:0',
      'ssh://u@h:65536',
      'ssh://u@h:22/path',
      'ssh://u@h?x',
      'ssh://u@h#x',
      'ssh://u@[h]',
      'ssh://u@::1',
      'ssh://u@[::1',
      'http://u@h',
      'ssh://u:p@h',
      'ssh://u:@h',
      'ssh://u@1.2.3',
      'ssh://%zz@h',
      'ssh://-oProxyCommand=x@h',
      'ssh://u@-oProxyCommand=x',
      'ssh://u@h h',
    ]);
  });

  test('never throw anything but a BadValue', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `ssh://${text}`),
        ),
        (text) => {
          try {
            kind.bastionUrl.parse(text);
          } catch (error) {
            assert.ok(error instanceof kind.BadValue, String(error));
          }
        },
      ),
    );
  });
});

test('names, users, hosts, ports, files and interfaces are refused when they cannot be', () => {
  refused(kind.name, ['', '-a', 'a b', 'ä', 'a'.repeat(64)]);
  refused(kind.user, ['', 'a b', 'a:b', '-l', 'a\u0000']);
  refused(kind.host, [
    '',
    'a b',
    '1.2.3.256',
    '[::1]',
    'u@h',
    'h:22',
    '-h',
    'h-',
    'a..b',
    `${'a'.repeat(64)}.b`,
  ]);
  refused(kind.port, ['0', '65536', '-1', '22.0', '0x16', ' 22', '']);
  refused(kind.file, ['~/key', 'a\u0000b', 'a\nb', '-----BEGIN OPENSSH PRIVATE KEY-----']);
  refused(kind.interfaceName, ['', 'a'.repeat(16), 'a b', 'a/b', '.', '..', 'lo', 'default', '-a']);
  refused(kind.oneOf('closed', 'open'), ['Closed', 'shut', '']);
});

describe('suggestions', () => {
  test('find the word behind a slip, and none behind another word', () => {
    const words = ['identity', 'known-hosts', 'bastion', 'tun-mtu'];
    for (const [typed, wanted] of [
      ['idntity', 'identity'],
      ['known_hosts', 'known-hosts'],
      ['knownHosts', 'known-hosts'],
      ['batsion', 'bastion'],
      ['mtu-tun', undefined],
      ['verbose', undefined],
      ['x', undefined],
    ] as const) {
      assert.equal(suggest(typed, words), wanted, typed);
    }
  });

  test('find any word with one character left out', () => {
    const words = ['identity', 'known-hosts', 'bastion', 'connect-hold'];
    fc.assert(
      fc.property(fc.constantFrom(...words), fc.nat(), (word, at) => {
        const cut = at % word.length;
        assert.equal(suggest(word.slice(0, cut) + word.slice(cut + 1), words), word);
      }),
    );
  });
});
