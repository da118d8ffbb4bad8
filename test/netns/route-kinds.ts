/** The ways a namespace can look before it is taken over, made for real. */
import assert from 'node:assert/strict';

import type { TakeOverInput } from '../../src/netns/desired.ts';
import { Namespace, waitFor } from '../lab/namespaces.ts';
import { INPUT } from './routes-lab.ts';

/** Lines of `ip -batch` on top of two uplinks, eth0 and eth1, that are up and have no address. */
export const V4 = 'addr add 192.0.2.10/24 dev eth0';
export const V6 = 'addr add 2001:db8:1::10/64 dev eth0 nodad';
export const namespaces: Record<string, readonly string[]> = {
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

export const inputs: Readonly<Record<string, TakeOverInput>> = {
  'destinations that go another way': {
    ...INPUT,
    local: ['10.20.0.9/32:443/tcp', '2001:db8:77::/48'],
    captured: [
      { cidr: '192.0.2.55/32', ports: [5432, 5432], protocol: 'tcp' },
      { cidr: '2001:db8:1::/64', ports: [8000, 8099], protocol: 'udp' },
    ],
  },
};

const made: Namespace[] = [];

/** Removes all that were made. */
export async function removeNamespaces(): Promise<void> {
  await Promise.all(made.splice(0).map((namespace) => namespace.remove()));
}

export async function namespaceWith(lines: readonly string[]): Promise<Namespace> {
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
export async function assertRoutes(namespace: Namespace, expected: string, where?: string): Promise<void> {
  await waitFor('the routes', async () => (await namespace.routes()) === expected, 10_000).catch(() => {});
  assert.equal(await namespace.routes(), expected, where ?? 'routes');
}

/** The routes once the TUN's own are all there. */
export async function takenRoutes(namespace: Namespace): Promise<string> {
  const whole = (text: string): boolean =>
    !text.includes('fd6e:7072::') || text.includes('local fd6e:7072::1 ');
  await waitFor("the TUN's local routes", async () => whole(await namespace.routes()));
  return namespace.routes();
}
