/** The steps as text: state in, commands out. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { describe as transcript } from '../../src/netns/describe.ts';
import { desired } from '../../src/netns/desired.ts';
import type { TakeOverInput } from '../../src/netns/desired.ts';
import { diagnoseTun } from '../../src/netns/diagnose.ts';
import { diff } from '../../src/netns/diff.ts';
import { readFacts } from '../../src/netns/facts.ts';
import type { Facts } from '../../src/netns/facts.ts';
import { ipRunner } from '../../src/netns/ip.ts';
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

interface Namespace {
  readonly routes4?: string;
  readonly routes6?: string;
  readonly rules4?: string;
  readonly ipv6?: '0' | '1';
}

function factsOf({ routes4 = '', routes6 = '', rules4 = RULES4, ipv6 }: Namespace): Promise<Facts> {
  const answers = new Map([
    ['-j', '[]'],
    ['-4', routes4 + rules4],
    ['-6', routes6 + RULES6],
  ]);
  const ip = ([first = '', ...args]: readonly string[]): Promise<string> =>
    Promise.resolve(answers.get(first) ?? assert.fail(`ip ${first} ${args.join(' ')}`));
  return readFacts({ ip, sysctl: () => Promise.resolve(ipv6) }, 'tun0');
}

const plan = (facts: Facts, input = INPUT): string => transcript(diff(desired(input, facts), facts));

describe('a container of Docker without IPv6', () => {
  test('is taken over by these commands', async () => {
    assert.equal(
      plan(await factsOf({ routes4: DOCKER })),
      `ip link set dev tun0 mtu 1500 txqueuelen 10000
ip addr add 198.18.0.1/30 dev tun0
ip link set dev tun0 up
ip -4 rule add pref 32766 unreachable protocol 110
ip -4 route replace table 28272 unreachable default metric 4278198272 proto 110
ip -4 route add table 28272 default via 172.17.0.1 dev eth0 proto 3 scope 0
ip -4 rule add pref 10 fwmark 0x6e70 lookup 254 suppress_prefixlength 0 protocol 110
ip -4 rule add pref 11 fwmark 0x6e70 lookup 28272 protocol 110
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
  const runner = ipRunner(['/nonexistent/wrapper'], () => Promise.resolve(undefined));
  await assert.rejects(runner.ip(['addr']), { code: 'IP_COMMAND_MISSING' });
});
