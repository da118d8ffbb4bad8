/** The steps as text: state in, commands out. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { describe as transcript } from '../../src/netns/describe.ts';
import { NetproxyError } from '../../src/core/errors.ts';
import { desired } from '../../src/netns/desired.ts';
import type { TakeOverInput } from '../../src/netns/desired.ts';
import { diagnoseTun } from '../../src/netns/diagnose.ts';
import { diff } from '../../src/netns/diff.ts';
import { readFacts } from '../../src/netns/facts.ts';
import type { Facts } from '../../src/netns/facts.ts';
import { netRunner } from '../../src/netns/runner.ts';
import type { NetRunner } from '../../src/netns/runner.ts';
import { takeOver } from '../../src/netns/takeover.ts';
import { planRelease } from '../../src/netns/release.ts';

const INPUT: TakeOverInput = {
  tun: { name: 'tun0', mtu: 1500, address4: '198.18.0.1/30', address6: 'fd6e:7072::1/126' },
  local: [],
};
const RULES4 =
  '0:\tfrom all lookup 255 proto 2\n32766:\tfrom all lookup 254 proto 2\n32767:\tfrom all lookup 253 proto 2\n';
const RULES6 = '0:\tfrom all lookup 255 proto 2\n32766:\tfrom all lookup 254 proto 2\n';
const DOCKER =
  '1 default via 172.17.0.1 dev eth0 table 254 proto 3 scope 0 \n1 172.17.0.0/16 dev eth0 table 254 proto 2 scope 253 src 172.17.0.2 \n';

const ETH0 = JSON.stringify([
  {
    ifname: 'eth0',
    ifindex: 2,
    flags: ['UP'],
    mtu: 1500,
    addr_info: [{ local: '172.17.0.2', prefixlen: 16, scope: 'global' }],
  },
]);

interface Namespace {
  readonly routes4?: string;
  readonly routes6?: string;
  readonly rules4?: string;
  readonly ipv6?: '0' | '1';
  /** What `nft -j list table` prints; nothing: there is no table. Absent: there is no nft. */
  readonly table?: string;
  /** The same of the tables that redirect questions. */
  readonly questions?: { readonly ip?: string; readonly ip6?: string };
  readonly addresses?: string;
  readonly udp?: string;
}

function factsOf(namespace: Namespace): Promise<Facts> {
  return readFacts(runnerOf(namespace), 'tun0');
}

function runnerOf({
  routes4 = '',
  routes6 = '',
  rules4 = RULES4,
  ipv6,
  table,
  questions = {},
  addresses = '[]',
  udp,
}: Namespace): NetRunner {
  const answers = new Map([
    ['-j', addresses],
    ['-4', routes4 + rules4],
    ['-6', routes6 + RULES6],
  ]);
  const ip = ([first = '', ...args]: readonly string[]): Promise<string> =>
    Promise.resolve(answers.get(first) ?? assert.fail(`ip ${first} ${args.join(' ')}`));
  const nft = async ([...args]: readonly string[]): Promise<string> => {
    if (table === undefined) throw new NetproxyError('NFT_UNUSABLE', 'there is no command "nft" in PATH');
    const found = args.at(-1) === 'netproxy' ? table : questions[args.at(-2) as 'ip' | 'ip6'];
    if ((found ?? '') === '') throw new NetproxyError('NFT_UNUSABLE', 'Error: No such file or directory');
    return found!;
  };
  const files = new Map([
    ['net/udp', udp],
    ['sys/net/ipv4/ip_local_port_range', '32768\t60999\n'],
  ]);
  const proc = (path: string): Promise<string | undefined> =>
    Promise.resolve(path.endsWith('/disable_ipv6') ? ipv6 : files.get(path));
  return { ip, nft, proc };
}

const plan = (facts: Facts, input = INPUT): string => transcript(diff(desired(input, facts), facts));

describe('a container of Docker without IPv6', () => {
  test('is taken over by these commands', async () => {
    assert.equal(
      plan(await factsOf({ routes4: DOCKER })),
      `ip link set dev tun0 mtu 1500 txqueuelen 10000 group 28272
ip addr add 198.18.0.1/30 dev tun0
ip link set dev tun0 up
ip -4 rule add pref 32766 unreachable protocol 110
ip -4 route replace table 28272 unreachable default metric 4278198272 proto 110
ip -4 route add table 28272 default via 172.17.0.1 dev eth0 proto 3 scope 0
ip -4 rule add pref 10 fwmark 0x6e70/0xfffffffe lookup 254 suppress_prefixlength 0 protocol 110
ip -4 rule add pref 11 fwmark 0x6e70/0xfffffffe lookup 28272 protocol 110
ip -4 route replace table 28273 default dev tun0 metric 1 proto 110
ip -4 route replace default dev tun0 metric 0 proto 110
ip -4 route replace throw default metric 1 proto 110
`,
    );
  });

  test('gets the IPv6 guard, but no address, where IPv6 is only switched off', async () => {
    const text = plan(await factsOf({ routes4: DOCKER, ipv6: '1' }));
    assert.match(text, /^ip -6 route replace throw default metric 2 proto 110$/m);
    assert.doesNotMatch(text, /fd6e|addrgenmode|-6 route replace default dev tun0/);
  });

  test('is released by these commands after a kill', async () => {
    const routes4 = `9 default table 254 proto 110 scope 0 metric 1 \n1 default via 172.17.0.1 dev eth0 table 28272 proto 3 scope 0 \n7 default table 28272 proto 110 scope 0 metric 4278198272 \n`;
    const rules4 = `${RULES4}32766:\tfrom all 7 proto 110\n11:\tfrom all fwmark 0x6e70 lookup 28272 proto 110\n`;
    assert.equal(
      transcript(planRelease(await factsOf({ routes4, rules4 }))),
      `ip -4 route add default via 172.17.0.1 dev eth0 proto 3 scope 0
ip -4 route del throw default proto 110 scope 0 metric 1
ip -4 rule del pref 32766 from all unreachable protocol 110
ip -4 rule del pref 11 from all fwmark 0x6e70 lookup 28272 protocol 110
ip -4 route del table 28272 default via 172.17.0.1 dev eth0 proto 3 scope 0
ip -4 route del table 28272 unreachable default proto 110 scope 0 metric 4278198272
`,
    );
  });
});

describe('the filter', () => {
  const UDP = `  sl  local_address rem_address   st tx_queue rx_queue
  10: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  11: 00000000:9C40 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 2 2 0 0
  12: 0A0200C0:0202 01020304:01BB 01 00000000:00000000 00:00000000 00000000     0        0 3 2 0 0
`;

  test('is made by these commands, of which nothing depends on what is still to come', async () => {
    const facts = await factsOf({ routes4: DOCKER, table: '', udp: UDP });
    const lines = plan(facts).split('\n');
    const filter = lines.slice(
      0,
      lines.findIndex((line) => line.startsWith('ip ')),
    );
    assert.equal(
      filter.map((line) => line.replace(/ #[0-9a-f]{8}"/, '"')).join('\n'),
      `nft 'add table inet netproxy'
nft 'delete table inet netproxy'
nft 'add table inet netproxy'
nft 'add counter inet netproxy leaked { packets 0 bytes 0 }'
nft 'add counter inet netproxy refused { packets 0 bytes 0 }'
nft 'add set inet netproxy earlier { type inet_service; timeout 300s; }'
nft 'add element inet netproxy earlier { 40000 timeout 300s, 514 timeout 300s }'
nft 'add chain inet netproxy inbound { type filter hook prerouting priority -150; policy accept; }'
nft 'add rule inet netproxy inbound iifname { "lo", "tun0" } accept comment "not from outside"'
nft 'add rule inet netproxy inbound meta mark 0 ct direction reply ct mark 0x6e71 meta mark set 0x6e71 comment "answered where it came in"'
nft 'add rule inet netproxy inbound tcp flags & (syn | ack) == syn ct state new ct mark set 0x6e71 comment "a connection begins outside"'
nft 'add rule inet netproxy inbound udp dport != @earlier ct state new ct mark set 0x6e71 comment "a UDP conversation begins outside"'
nft 'add rule inet netproxy inbound icmp type echo-request ct state new ct mark set 0x6e71 comment "a question of ICMP"'
nft 'add rule inet netproxy inbound icmpv6 type echo-request ct state new ct mark set 0x6e71 comment "a question of ICMPv6"'
nft 'add chain inet netproxy replies { type route hook output priority -150; policy accept; }'
nft 'add rule inet netproxy replies meta mark 0 ct direction reply ct mark 0x6e71 meta mark set 0x6e71 comment "answered where it came in"'
nft 'add chain inet netproxy egress { type filter hook output priority 50; policy accept; }'
nft 'add rule inet netproxy egress oifname { "lo", "tun0" } accept comment "loopback and the tunnel"'
nft 'add rule inet netproxy egress meta mark 0x6e70 accept comment "own sockets"'
nft 'add rule inet netproxy egress ct direction reply ct mark 0x6e71 accept comment "replies to what came in"'
nft 'add rule inet netproxy egress ip daddr { 169.254.169.254, 100.100.100.200 } counter name refused reject with icmpx type no-route comment "metadata services"'
nft 'add rule inet netproxy egress ip6 daddr fd00:ec2::254 counter name refused reject with icmpx type no-route comment "metadata services, IPv6"'
nft 'add rule inet netproxy egress ip daddr { 172.17.0.0/16, 224.0.0.0/24 } accept comment "local networks"'
nft 'add rule inet netproxy egress ip6 daddr { ff02::/16 } accept comment "local networks, IPv6"'
nft 'add rule inet netproxy egress ip protocol igmp accept comment "membership of groups"'
nft 'add rule inet netproxy egress icmpv6 type { mld-listener-report, mld-listener-done, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept comment "upkeep of the link"'
nft 'add rule inet netproxy egress counter name refused reject with icmpx type no-route comment "everything else"'
nft 'add chain inet netproxy forwarded { type filter hook forward priority 50; policy accept; }'
nft 'add rule inet netproxy forwarded oifname { "lo", "tun0" } accept comment "loopback and the tunnel"'
nft 'add rule inet netproxy forwarded meta mark 0x6e70 accept comment "own sockets"'
nft 'add rule inet netproxy forwarded ct direction reply ct mark 0x6e71 accept comment "replies to what came in"'
nft 'add rule inet netproxy forwarded ip daddr { 169.254.169.254, 100.100.100.200 } counter name refused reject with icmpx type no-route comment "metadata services"'
nft 'add rule inet netproxy forwarded ip6 daddr fd00:ec2::254 counter name refused reject with icmpx type no-route comment "metadata services, IPv6"'
nft 'add rule inet netproxy forwarded ip daddr { 172.17.0.0/16, 224.0.0.0/24 } accept comment "local networks"'
nft 'add rule inet netproxy forwarded ip6 daddr { ff02::/16 } accept comment "local networks, IPv6"'
nft 'add rule inet netproxy forwarded ip protocol igmp accept comment "membership of groups"'
nft 'add rule inet netproxy forwarded icmpv6 type { mld-listener-report, mld-listener-done, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept comment "upkeep of the link"'
nft 'add rule inet netproxy forwarded counter name refused reject with icmpx type no-route comment "everything else"'
nft 'add chain inet netproxy witness { type filter hook postrouting priority 300; policy accept; }'
nft 'add rule inet netproxy witness oifname { "lo", "tun0" } accept comment "loopback and the tunnel"'
nft 'add rule inet netproxy witness meta mark 0x6e70 accept comment "own sockets"'
nft 'add rule inet netproxy witness ct direction reply ct mark 0x6e71 accept comment "replies to what came in"'
nft 'add rule inet netproxy witness ip daddr { 169.254.169.254, 100.100.100.200 } counter name leaked accept comment "metadata services"'
nft 'add rule inet netproxy witness ip6 daddr fd00:ec2::254 counter name leaked accept comment "metadata services, IPv6"'
nft 'add rule inet netproxy witness ip daddr { 172.17.0.0/16, 224.0.0.0/24 } accept comment "local networks"'
nft 'add rule inet netproxy witness ip6 daddr { ff02::/16 } accept comment "local networks, IPv6"'
nft 'add rule inet netproxy witness ip protocol igmp accept comment "membership of groups"'
nft 'add rule inet netproxy witness icmpv6 type { mld-listener-report, mld-listener-done, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept comment "upkeep of the link"'
nft 'add rule inet netproxy witness counter name leaked accept comment "everything else"'`,
    );
  });

  test('keeps what an older one counted and remembered', async () => {
    const table = JSON.stringify({
      nftables: [
        { table: { family: 'inet', name: 'netproxy' } },
        { counter: { name: 'leaked', packets: 7, bytes: 420 } },
        { counter: { name: 'refused', packets: 9, bytes: 540 } },
        { set: { name: 'earlier', elem: [{ elem: { val: 40_000, timeout: 300, expires: 17 } }] } },
        { chain: { name: 'egress', type: 'filter', hook: 'output', prio: 50 } },
        { rule: { chain: 'egress', comment: 'of an older netproxy' } },
      ],
    });
    const text = plan(await factsOf({ routes4: DOCKER, table }));
    assert.match(text, /counter inet netproxy leaked \{ packets 7 bytes 420 \}/);
    assert.match(text, /counter inet netproxy refused \{ packets 9 bytes 540 \}/);
    assert.match(text, /earlier \{ 40000 timeout 17s \}/);
  });

  test('allows local networks once each, whatever covers them, and metadata when asked', async () => {
    const facts = await factsOf({ routes4: DOCKER, table: '' });
    const text = plan(facts, { ...INPUT, local: ['172.17.3.0/24', '10.0.0.0/8'], metadata: 'direct' });
    assert.match(
      text,
      /ip daddr \{ 10\.0\.0\.0\/8, 169\.254\.0\.0\/16, 172\.17\.0\.0\/16, 224\.0\.0\.0\/24, 100\.100\.100\.200\/32 \} accept/,
    );
    assert.doesNotMatch(text, /metadata services/);
    assert.match(text, /^ip -4 route replace 169\.254\.0\.0\/16 via 172\.17\.0\.1 /m);
  });

  test('is done without where the kernel lacks part of it, and refused then with "strict"', async () => {
    const runner = runnerOf({ routes4: DOCKER, table: '', addresses: ETH0 });
    const lines: string[] = [];
    const half: NetRunner = {
      ...runner,
      ip: (args, input) => (args.includes('-N') || args[0] === '-j' ? runner.ip(args) : run(input)),
      nft: (args) => {
        if (args[0] === '-f')
          throw new NetproxyError('NFT_UNUSABLE', 'Could not process rule: Not supported');
        return runner.nft(args);
      },
    };
    const run = (input = ''): Promise<string> => Promise.resolve((lines.push(input), ''));
    await assert.rejects(takeOver({ ...INPUT, strict: true }, half), { code: 'NFT_UNUSABLE' });
    assert.deepEqual(lines, [], 'nothing was changed');
    const { warnings } = await takeOver(INPUT, half);
    assert.match(warnings.join(), /no filter beside the routes .*Not supported/);
    assert.match(lines.join(''), /route replace default dev tun0/);
  });

  test('goes with the release, as the last of our tables', async () => {
    const table = JSON.stringify({ nftables: [{ table: { family: 'inet', name: 'netproxy' } }] });
    const questions = { ip: table, ip6: table };
    const text = transcript(planRelease(await factsOf({ routes4: DOCKER, table, questions })));
    assert.match(
      text,
      /nft 'delete table ip netproxy_dns'\nnft 'delete table ip6 netproxy_dns'\nnft 'delete table inet netproxy'\n$/,
    );
  });
});

describe('questions to resolvers', () => {
  const WITH_DNS = { ...INPUT, dnsPort: 28_053 };
  const tablesOf = (text: string): string[] =>
    text.split('\n').filter((line) => line.includes('netproxy_dns'));

  test('are redirected by tables of their own, made before the filter, which needs no nat', async () => {
    const text = plan(await factsOf({ routes4: DOCKER, table: '', ipv6: '0' }), WITH_DNS);
    const lines = tablesOf(text).map((line) => line.replace(/ #[0-9a-f]{8}"/, '"'));
    const of = (family: string): string[] => [
      `nft 'add table ${family} netproxy_dns'`,
      `nft 'delete table ${family} netproxy_dns'`,
      `nft 'add table ${family} netproxy_dns'`,
      `nft 'add chain ${family} netproxy_dns dns { type nat hook output priority -150; policy accept; }'`,
      `nft 'add rule ${family} netproxy_dns dns oifname != "tun0" meta mark != 0x6e70 meta l4proto { tcp, udp } th dport 53 redirect to :28053 comment "questions to resolvers"'`,
    ];
    assert.deepEqual(lines, [...of('ip'), ...of('ip6')]);
    assert.deepEqual(text.split('\n').slice(0, lines.length), tablesOf(text));
    assert.ok(!text.split('\n').some((line) => line.includes('inet netproxy') && line.includes('nat')));
  });

  test('have no table of IPv6 where the kernel has none, and none at all without nftables', async () => {
    const four = plan(await factsOf({ routes4: DOCKER, table: '' }), WITH_DNS);
    assert.ok(tablesOf(four).length > 0 && !four.includes('ip6 netproxy_dns'));
    for (const [namespace, input] of [
      [{ routes4: DOCKER }, WITH_DNS],
      [
        { routes4: DOCKER, table: '' },
        { ...WITH_DNS, layers: ['routes'] },
      ],
    ] as const)
      assert.deepEqual(tablesOf(plan(await factsOf(namespace), input)), []);
  });

  test('leave a table as it is that is as wanted, and replace or delete any other', async () => {
    const wanted = desired(WITH_DNS, await factsOf({ table: '' })).questions[4]!.signature;
    const listed = (signature: readonly string[]): string =>
      JSON.stringify({
        nftables: [
          { chain: { name: 'dns', type: 'nat', hook: 'output', prio: -150 } },
          { rule: { chain: 'dns', comment: signature.at(-1)!.slice('dns: '.length) } },
        ],
      });
    const text = async (input: TakeOverInput, ip: string): Promise<string[]> =>
      tablesOf(plan(await factsOf({ table: '', questions: { ip } }), input));
    assert.deepEqual(await text(WITH_DNS, listed(wanted)), []);
    assert.equal((await text({ ...WITH_DNS, dnsPort: 53 }, listed(wanted))).length, 5);
    assert.equal((await text(WITH_DNS, '{"nftables":[{"table":{"flags":"dormant"}}]}')).length, 5);
    assert.deepEqual(await text(INPUT, listed(wanted)), ["nft 'delete table ip netproxy_dns'"]);
  });

  test('are asked past us where the kernel cannot redirect: the filter stands, or with "strict" nothing is changed', async () => {
    const runner = runnerOf({ routes4: DOCKER, table: '', addresses: ETH0, ipv6: '0' });
    const made: string[] = [];
    const half: NetRunner = {
      ...runner,
      ip: (args) => (args.includes('-N') || args[0] === '-j' ? runner.ip(args) : Promise.resolve('')),
      async nft(args, script = '') {
        if (args[0] !== '-f') return runner.nft(args);
        if (script.includes('type nat'))
          throw new NetproxyError('NFT_UNUSABLE', 'Could not process rule: Not supported');
        made.push(script);
        return '';
      },
    };
    await assert.rejects(takeOver({ ...WITH_DNS, strict: true }, half), {
      code: 'NFT_UNUSABLE',
      message: /tables of nftables cannot be made, and "strict" is set: .*Not supported/,
    });
    assert.deepEqual(made, [], 'nothing was changed');
    const { steps, warnings } = await takeOver(WITH_DNS, half);
    assert.equal(made.length, 1);
    assert.match(made[0]!, /^add table inet netproxy\n[^]*add chain inet netproxy egress/);
    assert.deepEqual(
      warnings.map((text) => /for IPv\d \(.*Not supported\).* asked past netproxy$/.test(text)),
      [true, true],
    );
    assert.ok(!steps.some(({ table }) => table?.endsWith('netproxy_dns')), 'what was not done is not told');
  });
});

describe('destinations that go another way than their network', () => {
  const captured = [{ cidr: '172.17.0.5/32', ports: [5432, 5432] as const }];

  test('have rules ahead of main, the most specific first, and the same in the filter', async () => {
    const facts = await factsOf({ routes4: DOCKER, addresses: ETH0, table: '' });
    const local = ['10.20.0.0/16:443/tcp', '172.17.0.5/32:5000-6000/tcp'];
    const text = plan(facts, { ...INPUT, local, captured });
    assert.deepEqual(text.match(/^ip -4 rule add pref (?!327)[2-9].*$/gm), [
      'ip -4 rule add pref 27 to 10.20.0.0/16 ipproto 6 dport 443 lookup 28272 protocol 110',
      'ip -4 rule add pref 26 to 10.20.0.0/16 ipproto 6 dport 443 lookup 254 suppress_prefixlength 0 protocol 110',
      'ip -4 rule add pref 25 to 172.17.0.5 ipproto 6 dport 5000-6000 lookup 28272 protocol 110',
      'ip -4 rule add pref 24 to 172.17.0.5 ipproto 6 dport 5000-6000 lookup 254 suppress_prefixlength 0 protocol 110',
      'ip -4 rule add pref 23 to 172.17.0.5 ipproto 17 dport 5432 unreachable protocol 110',
      'ip -4 rule add pref 22 to 172.17.0.5 ipproto 17 dport 5432 lookup 28273 protocol 110',
      'ip -4 rule add pref 21 to 172.17.0.5 ipproto 6 dport 5432 unreachable protocol 110',
      'ip -4 rule add pref 20 to 172.17.0.5 ipproto 6 dport 5432 lookup 28273 protocol 110',
    ]);
    assert.match(
      text,
      /^ip -4 route replace table 28273 default dev tun0 metric 1 proto 110 src 172\.17\.0\.2$/m,
    );
    const egress = text.split('\n').filter((line) => / egress .*172\.17\.0|10\.20/.test(line));
    const order = [
      'th dport 5432 counter name refused',
      'tcp dport 5000-6000 accept',
      'tcp dport 443 accept',
      '172.17.0.0/16',
    ];
    const at = order.map((words) => egress.findIndex((line) => line.includes(words)));
    assert.deepEqual(
      at.toSorted((a, b) => a - b),
      at,
    );
    assert.ok(at[0] !== -1, egress.join('\n'));
  });

  test('a socket bound to a device finds the networks of main, but no default', async () => {
    const text = plan(await factsOf({ routes4: DOCKER, addresses: ETH0, ipv6: '0' }));
    assert.deepEqual(text.match(/^.*(oif|28274).*$/gm), [
      'ip -4 route replace table 28274 local default dev eth0 metric 2 proto 110',
      'ip -4 rule add pref 32763 oif eth0 lookup 254 suppress_prefixlength 3 protocol 110',
      'ip -4 rule add pref 32764 oif eth0 lookup 28274 protocol 110',
      'ip -6 rule add pref 32763 oif eth0 lookup 254 suppress_prefixlength 3 protocol 110',
      'ip -6 rule add pref 32764 oif eth0 lookup 28273 protocol 110',
      'ip -6 rule add pref 32765 oif eth0 unreachable protocol 110',
    ]);
  });

  test('a local network within a captured one is an exception to it', async () => {
    const facts = await factsOf({ routes4: DOCKER });
    const wide = [{ cidr: '10.0.0.0/8' }];
    const text = plan(facts, { ...INPUT, local: ['10.96.0.0/12', '11.0.0.0/8'], captured: wide });
    assert.match(text, /rule add pref 20 to 10\.96\.0\.0\/12 lookup 254 suppress_prefixlength 0/);
    assert.match(text, /rule add pref 22 to 10\.0\.0\.0\/8 lookup 28273/);
    assert.doesNotMatch(text, /rule .* to 11\./);
  });
});

test('where routes are not wanted, those of a predecessor go', async () => {
  const routes4 = `1 default dev tun0 table 254 proto 110 scope 0 \n1 default via 172.17.0.1 dev eth0 table 28272 proto 3 scope 0 \n`;
  const text = plan(await factsOf({ routes4, table: '' }), { ...INPUT, layers: ['nftables'] });
  assert.match(text, /^ip -4 route replace default via 172\.17\.0\.1 dev eth0 proto 3 scope 0$/m);
});

test("sockets without an address of their own send from the uplink's", async () => {
  const addresses = JSON.stringify([
    {
      ifname: 'eth0',
      flags: ['UP'],
      mtu: 1500,
      addr_info: [
        { local: '172.17.0.9', prefixlen: 16, scope: 'global', secondary: true },
        { local: '172.17.0.2', prefixlen: 16, scope: 'global' },
        { local: 'fe80::2', prefixlen: 64, scope: 'link' },
      ],
    },
  ]);
  assert.match(
    plan(await factsOf({ routes4: DOCKER, addresses })),
    /^ip -4 route replace default dev tun0 metric 0 proto 110 src 172\.17\.0\.2$/m,
  );
});

test('a default of router advertisements is copied without its lifetime and left to the kernel', async () => {
  const routes6 =
    '1 default via fe80::1 dev eth0 table 254 proto 9 scope 0 metric 1024 expires 1700sec hoplimit 64 pref high\n';
  const facts = await factsOf({ routes6, ipv6: '0' });
  const text = plan(facts);
  assert.match(
    text,
    /^ip -6 route add table 28272 default via fe80::1 dev eth0 proto 9 scope 0 metric 1024 hoplimit 64 pref high$/m,
  );
  assert.doesNotMatch(text, /route del/);
});

test('a changed gateway takes the place of the one that was kept', async () => {
  const routes4 =
    '1 default via 192.0.2.1 dev eth0 table 28272 proto 3 scope 0 \n1 default via 192.0.2.9 dev eth0 table 254 proto 3 scope 0 \n';
  assert.match(
    plan(await factsOf({ routes4 })),
    /^ip -4 route prepend table 28272 default via 192\.0\.2\.9 dev eth0 proto 3 scope 0$/m,
  );
});

test('a local network without any default, and a rule of somebody else, are told', async () => {
  const facts = await factsOf({ rules4: `${RULES4}500:\tfrom 10.0.0.1 lookup 77 proto 0\n` });
  const { warnings } = desired({ ...INPUT, local: ['10.0.0.0/8'] }, facts);
  assert.match(warnings.join('\n'), /from 10\.0\.0\.1 lookup 77/);
  assert.match(warnings.join('\n'), /10\.0\.0\.0\/8 is to stay local/);
});

test('each way in which the TUN cannot be opened has its code and its lines of YAML', () => {
  const failing = (code: string, message: string): Error => Object.assign(new Error(message), { code });
  const missing = diagnoseTun(failing('ENOENT', 'open /dev/net/tun: No such file or directory'));
  assert.equal(missing.code, 'TUN_MISSING');
  assert.match(missing.hint, /devices: \["\/dev\/net\/tun:\/dev\/net\/tun"\]/);
  assert.match(missing.hint, /hostPath: \{ path: \/dev\/net\/tun/);
  const forbidden = diagnoseTun(failing('EPERM', 'TUNSETIFF: Operation not permitted'));
  assert.equal(forbidden.code, 'NET_ADMIN_MISSING');
  assert.match(forbidden.hint, /cap_add: \[NET_ADMIN\]/);
  assert.match(forbidden.hint, /capabilities: \{ add: \["NET_ADMIN"\] \}/);
  assert.equal(
    diagnoseTun(failing('EPERM', 'open /dev/net/tun: Operation not permitted')).code,
    'TUN_MISSING',
  );
  assert.equal(diagnoseTun(failing('EBUSY', 'TUNSETIFF: Device or resource busy')).code, 'TUN_BUSY');
  assert.equal(diagnoseTun(failing('EINVAL', 'TUNSETIFF: Invalid argument')).code, 'TUN_FAILED');
});

test('a missing "ip" is told by its code', async () => {
  const runner = netRunner(['/nonexistent/wrapper'], () => Promise.resolve(undefined));
  await assert.rejects(runner.ip(['addr']), { code: 'IP_COMMAND_MISSING' });
});
