/**
 * The takeover's routes in real namespaces: each way a namespace can look before, taken over and
 * released again, and killed after every single step.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { apply } from '../../src/netns/apply.ts';
import { describe as transcript } from '../../src/netns/describe.ts';
import type { TakeOverInput } from '../../src/netns/desired.ts';
import type { Step } from '../../src/netns/step.ts';
import { planTakeOver, release, takeOver } from '../../src/netns/takeover.ts';
import { Namespace, waitFor } from '../lab/namespaces.ts';
import { INPUT, addTun, connectErrno, runnerIn } from './routes-lab.ts';

const FAR4 = '203.0.113.7';
const FAR6 = '2001:db8:99::7';
const MARK = 0x6e70;

/** Lines of `ip -batch` on top of two uplinks, eth0 and eth1, that are up and have no address. */
const V4 = 'addr add 192.0.2.10/24 dev eth0';
const V6 = 'addr add 2001:db8:1::10/64 dev eth0 nodad';
const namespaces: Record<string, readonly string[]> = {
  'as Docker makes it': [V4, 'route add default via 192.0.2.1 dev eth0'],
  'both families': [
    V4,
    V6,
    'route add default via 192.0.2.1',
    '-6 route add default via 2001:db8:1::1 dev eth0',
  ],
  'IPv6 only': [V6, '-6 route add default via 2001:db8:1::1 dev eth0 metric 1024 pref high'],
  'no default at all': [V4, V6],
  'every attribute': [
    V4,
    V6,
    'route add default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.10 metric 100 onlink mtu 1400 initcwnd 12',
    '-6 route add default via fe80::1 dev eth0 proto static metric 77 mtu 1400 pref low',
    'route add 198.51.100.0/24 via 192.0.2.254 dev eth0',
  ],
  'two uplinks': [
    V4,
    V6,
    'addr add 198.51.100.10/24 dev eth1',
    'addr add 2001:db8:2::10/64 dev eth1 nodad',
    'route add default via 192.0.2.1 dev eth0',
    'route append default via 198.51.100.1 dev eth1',
    'route add default via 198.51.100.1 dev eth1 metric 200',
    '-6 route add default via 2001:db8:1::1 dev eth0 metric 100',
    '-6 route add default via 2001:db8:2::1 dev eth1 metric 200',
  ],
  multipath: [
    V4,
    V6,
    'addr add 198.51.100.10/24 dev eth1',
    'route add default metric 5 nexthop via 192.0.2.1 dev eth0 nexthop via 198.51.100.1 dev eth1 weight 3',
    '-6 route add default metric 9 nexthop via 2001:db8:1::1 dev eth0 nexthop via 2001:db8:1::2 dev eth0 weight 2',
  ],
  'a nexthop object': [V4, 'nexthop add id 7 via 192.0.2.1 dev eth0', 'route add default nhid 7 metric 3'],
  'a blackhole for a default': [
    V4,
    V6,
    'route add blackhole default',
    'route add default via 192.0.2.1 dev eth0 metric 10',
    '-6 route add unreachable default metric 5',
    'route add blackhole 10.0.0.0/8',
  ],
  'a gateway beyond the link': [
    'addr add 192.0.2.10/32 dev eth0',
    'route add 10.255.0.1 dev eth0 scope link',
    'route add default via 10.255.0.1 dev eth0 onlink',
    V6,
    '-6 route add default via fe80::1 dev eth0 onlink',
  ],
  'halves of the space': [V4, 'route add 0.0.0.0/1 via 192.0.2.1', 'route add 128.0.0.0/1 via 192.0.2.1'],
  'destinations that go another way': [
    V4,
    V6,
    'route add default via 192.0.2.1 dev eth0',
    '-6 route add default via 2001:db8:1::1 dev eth0',
  ],
  'a rule and a table of somebody else': [
    V4,
    V6,
    'route add default via 192.0.2.1',
    'route add default via 192.0.2.3 table 77',
    'rule add from 192.0.2.77 lookup 77 pref 500',
    '-6 rule add from 2001:db8:1::77 lookup 77 pref 500',
  ],
};

const inputs: Readonly<Record<string, TakeOverInput>> = {
  'destinations that go another way': {
    ...INPUT,
    local: ['10.20.0.9/32:443/tcp', '2001:db8:77::/48'],
    captured: [
      { cidr: '192.0.2.55/32', ports: [5432, 5432], protocol: 'tcp' },
      { cidr: '2001:db8:1::/64', ports: [8000, 8099], protocol: 'udp' },
    ],
  },
};

/** The kill matrix takes a second a step, so it is run where the steps differ most. */
const KILLED = new Set([
  'as Docker makes it',
  'two uplinks',
  'multipath',
  'destinations that go another way',
]);

const made: Namespace[] = [];
after(async () => {
  await Promise.all(made.map((namespace) => namespace.remove()));
});

async function namespaceWith(lines: readonly string[]): Promise<Namespace> {
  const namespace = await Namespace.create('routes');
  made.push(namespace);
  await namespace.ip(
    'link add eth0 type veth peer name peer0',
    'link add eth1 type veth peer name peer1',
    ...['eth0', 'eth1', 'peer0', 'peer1'].map((device) => `link set ${device} addrgenmode none up`),
  );
  for (const line of lines) await namespace.run(['ip', ...line.split(' ')]);
  return namespace;
}

/** The kernel makes the local routes of IPv6 addresses a moment after it took the address. */
async function assertRoutes(namespace: Namespace, expected: string, where?: string): Promise<void> {
  await waitFor('the routes', async () => (await namespace.routes()) === expected, 2_000).catch(() => {});
  assert.equal(await namespace.routes(), expected, where ?? 'routes');
}

/** The routes once the TUN's own are all there. */
async function takenRoutes(namespace: Namespace): Promise<string> {
  const whole = (text: string): boolean =>
    !text.includes('fd6e:7072::') || text.includes('local fd6e:7072::1 ');
  await waitFor("the TUN's local routes", async () => whole(await namespace.routes()));
  return namespace.routes();
}

/** After how many steps a kill can strike: the filter is applied whole or not at all. */
function killPoints(steps: readonly Step[]): number[] {
  return [...steps.keys(), steps.length].filter(
    (count) => count === 0 || steps[count]?.tool !== 'nft' || steps[count - 1]?.tool !== 'nft',
  );
}

async function routeGet(namespace: Namespace, ...argv: string[]): Promise<string> {
  const { stdout, stderr } = await namespace.run(['ip', 'route', 'get', ...argv], { mayFail: true });
  return (stdout + stderr).replaceAll(/\s+/g, ' ').trim();
}

for (const [name, lines] of Object.entries(namespaces)) {
  const input = inputs[name] ?? INPUT;
  describe(`a namespace with ${name}`, () => {
    test('is taken over, and released as it was', async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);

      await takeOver(input, runner);
      assert.match(await routeGet(namespace, FAR4), / dev tun0 src (198\.18\.0\.1|192\.0\.2\.10)/);
      assert.match(await routeGet(namespace, FAR6), / dev tun0 .*src (fd6e:7072::1|2001:db8:1::10)/);
      assert.deepEqual(await planTakeOver(input, runner), [], 'a second takeover has nothing to do');

      await release(runner);
      await namespace.ip('link del tun0');
      await assertRoutes(namespace, before);
      assert.deepEqual(await release(runner), [], 'a second release has nothing to do');
    });

    test('is closed at once when the TUN goes, and opened by a release', async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);
      await takeOver(input, runner);
      await namespace.ip('link del tun0');
      assert.equal(await connectErrno(namespace, FAR4), 'ENETUNREACH');
      assert.equal(await connectErrno(namespace, FAR6), 'ENETUNREACH');
      await release(runner);
      await assertRoutes(namespace, before);
    });

    if (!KILLED.has(name)) return;

    test('is repaired after a kill at any step', async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);
      const steps = await planTakeOver(input, runner);
      await takeOver(input, runner);
      const taken = await takenRoutes(namespace);
      await release(runner);
      await namespace.ip('link del tun0');

      for (const killed of killPoints(steps)) {
        const where = `killed after ${killed} of\n${transcript(steps)}`;
        await addTun(namespace);
        await apply(steps.slice(0, killed), runner);
        // The TUN dies with its process.
        await namespace.ip('link del tun0');
        await addTun(namespace);
        await takeOver(input, runner);
        await assertRoutes(namespace, taken, where);
        await release(runner);
        await namespace.ip('link del tun0');
        await assertRoutes(namespace, before, where);

        // And with no restart in between: the release alone repairs it, too.
        await addTun(namespace);
        await apply(steps.slice(0, killed), runner);
        await namespace.ip('link del tun0');
        await release(runner);
        await assertRoutes(namespace, before, where);
      }
    });

    test('is repaired after a kill at any step of the release', async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);
      await takeOver(input, runner);
      const taken = await takenRoutes(namespace);
      const steps = await release(runner);
      for (const killed of killPoints(steps)) {
        const where = `killed after ${killed} of\n${transcript(steps)}`;
        await takeOver(input, runner);
        await assertRoutes(namespace, taken, where);
        await apply(steps.slice(0, killed), runner);
        await release(runner);
        await namespace.ip('link del tun0');
        await assertRoutes(namespace, before, where);
        await addTun(namespace);
      }
    });
  });
}

describe('a marked socket', () => {
  test('goes by the uplink, on the link too, and never by the TUN', async () => {
    const namespace = await namespaceWith(namespaces['both families'] ?? []);
    await addTun(namespace);
    await takeOver(INPUT, runnerIn(namespace));
    const mark = ['mark', String(MARK)];
    assert.match(await routeGet(namespace, FAR4, ...mark), / via 192\.0\.2\.1 dev eth0 .*src 192\.0\.2\.10/);
    assert.match(
      await routeGet(namespace, FAR6, ...mark),
      / via 2001:db8:1::1 dev eth0 .*src 2001:db8:1::10/,
    );
    assert.match(await routeGet(namespace, '192.0.2.55', ...mark), /^192\.0\.2\.55 dev eth0 /);
    assert.match(await routeGet(namespace, '2001:db8:1::55', ...mark), /^2001:db8:1::55 .*dev eth0 /);
    await namespace.ip('link set eth0 down');
    assert.match(await routeGet(namespace, FAR4, ...mark), /unreachable|No route to host/);
    assert.match(await routeGet(namespace, FAR6, ...mark), /unreachable|No route to host/);
  });
});

describe('local networks', () => {
  test('stay on the uplink, follow the configuration and go with the release', async () => {
    const namespace = await namespaceWith(namespaces['both families'] ?? []);
    const runner = runnerIn(namespace);
    const before = await namespace.routes();
    await addTun(namespace);
    const local = ['10.96.0.0/12', '10.1.2.3/32', '2001:db8:77::/48', '192.0.2.128/25'];
    await takeOver({ ...INPUT, local }, runner);
    assert.match(await routeGet(namespace, '10.96.0.10'), / via 192\.0\.2\.1 dev eth0 src 192\.0\.2\.10/);
    assert.match(await routeGet(namespace, '10.1.2.3'), / via 192\.0\.2\.1 dev eth0 /);
    assert.match(await routeGet(namespace, '2001:db8:77::1'), / via 2001:db8:1::1 dev eth0 /);
    assert.match(await routeGet(namespace, '192.0.2.200'), /^192\.0\.2\.200 dev eth0 /);
    assert.match(await routeGet(namespace, '10.1.2.4'), / dev tun0 /);
    assert.deepEqual(await planTakeOver({ ...INPUT, local }, runner), []);
    await takeOver({ ...INPUT, local: ['10.96.0.0/12'] }, runner);
    assert.match(await routeGet(namespace, '10.1.2.3'), / dev tun0 /);
    assert.match(await routeGet(namespace, '10.96.0.10'), / dev eth0 /);
    await release(runner);
    await namespace.ip('link del tun0');
    await assertRoutes(namespace, before);
  });
});

describe('a namespace in which IPv6 is switched off', () => {
  test('is taken over and released, and stays closed should IPv6 be switched on', async () => {
    const namespace = await namespaceWith([]);
    const runner = runnerIn(namespace);
    const switchTo = (value: 0 | 1): Promise<unknown> =>
      namespace.run([
        'sh',
        '-c',
        `for d in all default; do echo ${value} > /proc/sys/net/ipv6/conf/$d/disable_ipv6; done`,
      ]);
    await switchTo(1);
    await namespace.ip(V4, 'route add default via 192.0.2.1');
    const before = await namespace.routes();
    await addTun(namespace);
    await takeOver(INPUT, runner);
    assert.match(await routeGet(namespace, FAR4), / dev tun0 /);
    assert.deepEqual(await planTakeOver(INPUT, runner), []);
    await release(runner);
    await namespace.ip('link del tun0');
    await assertRoutes(namespace, before);

    await addTun(namespace);
    await takeOver(INPUT, runner);
    await switchTo(0);
    await namespace.ip(V6, 'route add default via 2001:db8:1::1 dev eth0');
    assert.equal(await connectErrno(namespace, FAR6), 'ENETUNREACH');
  });
});
