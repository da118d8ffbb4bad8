import { BlockList } from 'node:net';

import { parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import type { Family } from '../core/flow.ts';
import type { Facts } from './facts.ts';
import { LOCAL_METRIC, MAIN_TABLE, PROTOCOL } from './ids.ts';
import type { Route } from './route.ts';

/** Routes that take everything, or what stands for it: halves of the space, and global IPv6. */
export const WIDE: ReadonlySet<string> = new Set([
  'default',
  '0.0.0.0/1',
  '128.0.0.0/1',
  '::/1',
  '8000::/1',
  '2000::/3',
]);

/** The longest prefix among them. */
export const WIDE_PREFIX_MAX = 3;

/** Groups of one link, which no router forwards (RFC 5771 section 4, RFC 4291 section 2.7). */
const LINK_GROUPS = { 4: '224.0.0.0/24', 6: 'ff02::/16' } as const;

/** Metadata services of clouds, and the link-local addresses most of them are among. */
export const METADATA: readonly string[] = ['169.254.0.0/16', '100.100.100.200/32', 'fd00:ec2::254/128'];

/** True for a route of main, other than ours, that keeps its networks off the TUN. */
function isDirect(route: Route, tun: string): boolean {
  return (
    route.table === MAIN_TABLE &&
    route.type === 'unicast' &&
    route.protocol !== PROTOCOL &&
    route.dev !== tun &&
    !WIDE.has(route.dst)
  );
}

/** The route of a network that is to stay local, for main; none where a route already does it. */
export function localRoute(
  cidr: Cidr,
  family: Family,
  uplinks: readonly Route[],
  tun: string,
  facts: Facts,
  warnings: string[],
): string[] {
  if (cidr.family !== family || isCovered(cidr, tun, facts)) return [];
  const uplink = uplinks.find((route) => route.dst === 'default' && route.type === 'unicast');
  if (uplink === undefined) {
    warnings.push(
      `${cidr.network} is to stay local, but the namespace has no IPv${family} default to reach it by`,
    );
    return [];
  }
  const words = uplink.spec.split(' ').slice(1);
  for (const key of ['proto', 'metric', 'tos']) {
    const at = words.indexOf(key);
    if (at !== -1) words.splice(at, 2);
  }
  return [[cidr.network, ...words, 'metric', LOCAL_METRIC, 'proto', PROTOCOL].join(' ')];
}

/** True when an existing route already keeps the network off the TUN, such as an on-link one. */
function isCovered(cidr: Cidr, tun: string, facts: Facts): boolean {
  return facts.routes.some((route) => {
    const net = route.family === cidr.family && isDirect(route, tun) ? parseCidr(route.dst) : undefined;
    return net !== undefined && net.prefix <= cidr.prefix && listOf(net).check(...addressOf(cidr));
  });
}

/** Everything of a family that may leave by the uplinks, without overlaps, in a fixed order. */
export function localNetworks(family: Family, cidrs: readonly Cidr[], tun: string, facts: Facts): string[] {
  const routed = facts.routes.filter((route) => route.family === family && isDirect(route, tun));
  const all = [LINK_GROUPS[family], ...routed.map((route) => route.dst)]
    .flatMap((text) => parseCidr(text) ?? [])
    .concat(cidrs.filter((cidr) => cidr.family === family))
    .toSorted((a, b) => a.prefix - b.prefix || (a.network < b.network ? -1 : 1));
  const kept = new BlockList();
  return all.flatMap((cidr) => {
    if (kept.check(...addressOf(cidr))) return [];
    kept.addSubnet(addressOf(cidr)[0], cidr.prefix, addressOf(cidr)[1]);
    return [cidr.network];
  });
}

function listOf(cidr: Cidr): BlockList {
  const list = new BlockList();
  list.addSubnet(addressOf(cidr)[0], cidr.prefix, addressOf(cidr)[1]);
  return list;
}

function addressOf(cidr: Cidr): [address: string, type: 'ipv4' | 'ipv6'] {
  return [cidr.network.split('/')[0] ?? '', cidr.family === 4 ? 'ipv4' : 'ipv6'];
}
