import { BlockList } from 'node:net';

import { parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import type { Family } from '../core/flow.ts';
import { FWMARK, TUN_QUEUE_PACKETS } from '../core/limits.ts';
import type { Facts } from './facts.ts';
import {
  GUARD_METRIC,
  LOCAL_METRIC,
  MAIN_TABLE,
  PROTOCOL,
  PROTOCOL_RA,
  RULE_END,
  RULE_MARKED_MAIN,
  RULE_MARKED_UPLINK,
  TUN_METRIC,
  UPLINK_END_METRIC,
  UPLINK_TABLE,
} from './ids.ts';
import { keyOf } from './route.ts';
import type { Route } from './route.ts';

/** What the takeover is told by the configuration. */
export interface TakeOverInput {
  readonly tun: {
    readonly name: string;
    readonly mtu: number;
    readonly address4: string;
    readonly address6: string;
  };
  /** Networks that stay on the uplink. */
  readonly local: readonly string[];
}

export interface DesiredRule {
  readonly priority: number;
  /** Selector and action, as `ip rule` both takes and prints them. */
  readonly spec: string;
}

export interface DesiredFamily {
  readonly rules: readonly DesiredRule[];
  /** The uplinks' defaults, in the order of the uplink table. */
  readonly uplinks: readonly Route[];
  /** End of the uplink table: our own marked sockets must never fall through to the TUN. */
  readonly uplinkEnd: string;
  /** Routes of local networks, for main. */
  readonly local: readonly string[];
  /** The default by the TUN; undefined where the TUN has no address of this family. */
  readonly tunDefault: string | undefined;
  /** Ends the lookup in main behind the TUN's default. */
  readonly guard: string;
}

/** The state that the takeover aims at. */
export interface Desired {
  readonly tun: {
    readonly name: string;
    readonly mtu: number;
    readonly txqueuelen: number;
    readonly addresses: readonly string[];
  };
  /** By family; IPv6 is missing where the kernel has none. */
  readonly families: Readonly<Partial<Record<Family, DesiredFamily>>>;
  /** Sentences for the operator. */
  readonly warnings: readonly string[];
}

/** Routes that take everything, or what stands for it: halves of the space, and global IPv6. */
const WIDE = new Set(['default', '0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1', '2000::/3']);

/** True for a route of main by which an application's traffic would leave past the TUN. */
export function isUplink(route: Route, tun: string | undefined): boolean {
  return (
    route.table === MAIN_TABLE &&
    route.type === 'unicast' &&
    WIDE.has(route.dst) &&
    route.dev !== tun &&
    route.protocol !== PROTOCOL
  );
}

/** True for a route that the kernel keeps by router advertisements: it would only add it again. */
export function isAdvertised(route: Route): boolean {
  return route.protocol === PROTOCOL_RA;
}

/** Routes of the uplink table, without its end. */
export function storedUplinks(facts: Facts, family: Family): Route[] {
  return facts.routes.filter(
    (route) => route.family === family && route.table === UPLINK_TABLE && route.protocol !== PROTOCOL,
  );
}

/** Computes the aim. Pure; also right for a namespace that a killed netproxy left half done. */
export function desired(input: TakeOverInput, facts: Facts): Desired {
  const warnings = foreignRules(facts);
  const cidrs = input.local.map((text) => parseCidr(text)).filter((cidr) => cidr !== undefined);
  const four = desiredFamily(4, input, facts, cidrs, true, warnings);
  const six =
    facts.ipv6 === 'absent'
      ? undefined
      : desiredFamily(6, input, facts, cidrs, facts.ipv6 === 'on', warnings);
  return {
    tun: {
      name: input.tun.name,
      mtu: input.tun.mtu,
      txqueuelen: TUN_QUEUE_PACKETS,
      addresses: [input.tun.address4, ...(facts.ipv6 === 'on' ? [input.tun.address6] : [])],
    },
    families: six === undefined ? { 4: four } : { 4: four, 6: six },
    warnings,
  };
}

function desiredFamily(
  family: Family,
  input: TakeOverInput,
  facts: Facts,
  cidrs: readonly Cidr[],
  addressed: boolean,
  warnings: string[],
): DesiredFamily {
  const uplinks = desiredUplinks(family, input.tun.name, facts);
  const mark = `0x${FWMARK.toString(16)}`;
  return {
    rules: [
      // On-link and local networks of a marked socket are found in main, of which this hides the defaults.
      { priority: RULE_MARKED_MAIN, spec: `fwmark ${mark} lookup ${MAIN_TABLE} suppress_prefixlength 0` },
      { priority: RULE_MARKED_UPLINK, spec: `fwmark ${mark} lookup ${UPLINK_TABLE}` },
      // Main ends without a match when the TUN is gone: connect(2) fails with ENETUNREACH, where a
      // route of type unreachable would give EHOSTUNREACH.
      { priority: RULE_END, spec: 'unreachable' },
    ],
    uplinks,
    uplinkEnd: `unreachable default metric ${UPLINK_END_METRIC} proto ${PROTOCOL}`,
    local: cidrs.flatMap((cidr) => localRoute(cidr, family, uplinks, input.tun.name, facts, warnings)),
    tunDefault: addressed
      ? `default dev ${input.tun.name} metric ${TUN_METRIC[family]} proto ${PROTOCOL}`
      : undefined,
    guard: `throw default metric ${GUARD_METRIC[family]} proto ${PROTOCOL}`,
  };
}

/** Joins what the uplink table holds with what main (still or again) holds. */
function desiredUplinks(family: Family, tun: string, facts: Facts): Route[] {
  const main = facts.routes.filter((route) => route.family === family && isUplink(route, tun));
  // An advertised default stays in main, so its copy has no life of its own.
  const stored = storedUplinks(facts, family).filter(
    (route) => !isAdvertised(route) || main.some((other) => other.spec === route.spec),
  );
  const keys = new Set([...stored, ...main].map(keyOf));
  return [...keys].flatMap((key) =>
    joinOfKey(
      stored.filter((route) => keyOf(route) === key),
      main.filter((route) => keyOf(route) === key),
      family,
    ),
  );
}

function joinOfKey(stored: readonly Route[], main: readonly Route[], family: Family): readonly Route[] {
  const fresh = main.filter((route) => !stored.some((other) => other.spec === route.spec));
  if (fresh.length === 0) return stored;
  const copyWasCutShort = stored.every((route) => main.some((other) => other.spec === route.spec));
  // Otherwise the network was changed since: what main holds is newer. IPv6 would join both into one
  // multipath route, so there the older one goes.
  return copyWasCutShort || family === 6 ? main : [...fresh, ...stored];
}

function localRoute(
  cidr: Cidr,
  family: Family,
  uplinks: readonly Route[],
  tun: string,
  facts: Facts,
  warnings: string[],
): string[] {
  if (cidr.family !== family || isCovered(cidr, tun, facts)) return [];
  const uplink = uplinks.find((route) => route.dst === 'default');
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
  const address = cidr.network.split('/')[0] ?? '';
  return facts.routes.some((route) => {
    if (
      route.family !== cidr.family ||
      route.table !== MAIN_TABLE ||
      route.protocol === PROTOCOL ||
      route.dev === tun ||
      WIDE.has(route.dst)
    )
      return false;
    const net = parseCidr(route.dst);
    if (net === undefined || net.prefix > cidr.prefix) return false;
    const type = cidr.family === 4 ? 'ipv4' : 'ipv6';
    const list = new BlockList();
    list.addSubnet(net.network.split('/')[0] ?? '', net.prefix, type);
    return list.check(address, type);
  });
}

/** Rules of others come before main and may lead past the TUN; they are left alone, but told. */
function foreignRules(facts: Facts): string[] {
  return ([4, 6] as const).flatMap((family) =>
    facts.rules[family]
      .filter(
        (rule) => !/ proto (2|110)$/.test(rule) && !/^\d+: from all lookup (255|254|253)( |$)/.test(rule),
      )
      .map(
        (rule) =>
          `the rule "${rule}" (IPv${family}) is not ours and stays: traffic that it matches does not go through the tunnel`,
      ),
  );
}
