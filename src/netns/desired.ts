import { parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import type { Destination } from '../core/destination.ts';
import type { Family } from '../core/flow.ts';
import { FWMARK, FWMARK_INBOUND, TUN_QUEUE_PACKETS } from '../core/limits.ts';
import { exceptionRules, exceptionsOf, ruledWithin } from './exceptions.ts';
import type { Exception } from './exceptions.ts';
import type { Facts } from './facts.ts';
import { desiredFilter } from './filter.ts';
import type { DesiredFilter } from './filter.ts';
import {
  DEVICE_TABLE,
  GUARD_METRIC,
  MAIN_TABLE,
  PROTOCOL,
  PROTOCOL_KERNEL,
  PROTOCOL_RA,
  RULE_DEVICE_FIRST,
  RULE_DNS,
  RULE_END,
  RULE_MARKED_MAIN,
  RULE_MARKED_UPLINK,
  TUN_GROUP,
  TUN_METRIC,
  TUN_TABLE,
  TUN_TABLE_METRIC,
  UPLINK_END_METRIC,
  UPLINK_TABLE,
} from './ids.ts';
import { desiredQuestions } from './questions.ts';
import type { DesiredQuestions } from './questions.ts';
import { localNetworks, localRoute, METADATA, WIDE, WIDE_PREFIX_MAX } from './local.ts';
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
  /** What stays on the uplink: networks, and single ports of some (`parseDestination` reads them). */
  readonly local: readonly string[];
  /** What goes into the tunnel although it is local. Of this and `local` the most specific holds. */
  readonly captured?: readonly Destination[];
  /** What rules send another way than directly: captured as far as it lies within a network that is local. */
  readonly ruled?: readonly Destination[];
  /** What becomes of link-local and metadata addresses; by default they are rejected. */
  readonly metadata?: 'reject' | 'direct';
  /** The layers to build, both by default. */
  readonly layers?: readonly Layer[];
  /** Whether to fail rather than do without a layer. */
  readonly strict?: boolean;
  /** Port of the listener for questions to resolvers; undefined: they go where they went. */
  readonly dnsPort?: number | undefined;
}

/** Each keeps traffic in by itself. */
export type Layer = 'routes' | 'nftables';

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
  /** The address that a socket without one of its own sends from; undefined: the TUN's. */
  readonly source: string | undefined;
  /** Ends the lookup in main behind the TUN's default. */
  readonly guard: string;
  /** Routes of the table into the TUN, and of the one for devices. */
  readonly captured: readonly string[];
  readonly devices: readonly string[];
}

/** The state that the takeover aims at. */
export interface Desired {
  readonly tun: {
    readonly name: string;
    readonly mtu: number;
    readonly txqueuelen: number;
    readonly addresses: readonly string[];
  };
  /** By family; IPv6 is missing where the kernel has none, and both are where routes are not wanted. */
  readonly families: Readonly<Partial<Record<Family, DesiredFamily>>>;
  /** Everything that stays on the uplinks, by family, for people. */
  readonly direct: readonly string[];
  /** Undefined where none is wanted, or none can be had. */
  readonly filter: DesiredFilter | undefined;
  /** Tables that redirect questions to resolvers, by family; none where none are wanted, or there is no nft. */
  readonly questions: Readonly<Partial<Record<Family, DesiredQuestions>>>;
  /** Sentences for the operator. */
  readonly warnings: readonly string[];
}

/**
 * Questions to resolvers on the link, which main has a route to, go into the TUN all the same, and nowhere when
 * it is gone. Those further off follow the TUN's default.
 */
const QUESTION_RULES: readonly DesiredRule[] = ['udp', 'tcp'].flatMap((protocol, nth) => [
  { priority: RULE_DNS + 2 * nth, spec: `ipproto ${protocol} dport 53 lookup ${TUN_TABLE}` },
  { priority: RULE_DNS + 2 * nth + 1, spec: `ipproto ${protocol} dport 53 unreachable` },
]);

/**
 * IPv6 keeps the MTU of a path as a route of its own beside the one that it came by, with the prefix of one address
 * (RFC 8201 section 5.2; rt6_find_cached_rt in net/ipv6/route.c): it would not be hidden with the TUN's default.
 */
const HIDE_TUN: Readonly<Record<Family, string>> = { 4: '', 6: ` suppress_ifgroup ${TUN_GROUP}` };

/** Our own sockets and replies to what came in, told from the rest by all bits but the last. */
const MARKS = `0x${(FWMARK & FWMARK_INBOUND).toString(16)}/0x${(~(FWMARK ^ FWMARK_INBOUND) >>> 0).toString(16)}`;

/**
 * True for a default of main that is not ours: by it an application's traffic would leave past the TUN, or,
 * where its type is another than unicast, not come to the TUN.
 */
export function isUplink(route: Route, tun: string | undefined): boolean {
  return (
    route.table === MAIN_TABLE &&
    WIDE.has(route.dst) &&
    (route.dev !== tun || tun === undefined) &&
    // Older kernels list the end of their own IPv6 table, "unreachable default" at the highest metric.
    !(route.type !== 'unicast' && route.protocol === PROTOCOL_KERNEL) &&
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
  const layers = new Set(input.layers ?? ['routes', 'nftables']);
  const metadata = input.metadata ?? 'reject';
  const local = [...input.local, ...(metadata === 'direct' ? METADATA : [])];
  const cidrs = local.map((text) => parseCidr(text)).filter((cidr) => cidr !== undefined);
  const networks = {
    4: localNetworks(4, cidrs, input.tun.name, facts),
    6: localNetworks(6, cidrs, input.tun.name, facts),
  };
  const captured = [
    ...(input.captured ?? []),
    ...ruledWithin([...networks[4], ...networks[6]], input.ruled ?? [], warnings),
  ];
  const exceptions = exceptionsOf(local, captured);
  const familyOf = (family: Family): DesiredFamily =>
    desiredFamily(family, input, facts, cidrs, exceptions, family === 4 || facts.ipv6 === 'on', warnings);
  const families: Partial<Record<Family, DesiredFamily>> = {};
  if (layers.has('routes')) {
    families[4] = familyOf(4);
    if (facts.ipv6 !== 'absent') families[6] = familyOf(6);
  }
  const tables = layers.has('nftables') && facts.filter.state !== 'unusable';
  return {
    tun: {
      name: input.tun.name,
      mtu: input.tun.mtu,
      txqueuelen: TUN_QUEUE_PACKETS,
      addresses: [input.tun.address4, ...(facts.ipv6 === 'on' ? [input.tun.address6] : [])],
    },
    families,
    direct: [...networks[4], ...(facts.ipv6 === 'absent' ? [] : networks[6])],
    questions: tables && input.dnsPort !== undefined ? questionsOf(input.dnsPort, input, facts) : {},
    filter: tables
      ? desiredFilter({
          tun: input.tun.name,
          local4: networks[4],
          local6: networks[6],
          exceptions,
          metadata,
        })
      : undefined,
    warnings,
  };
}

function questionsOf(port: number, { tun }: TakeOverInput, facts: Facts): Desired['questions'] {
  const four = desiredQuestions(4, tun.name, port);
  return facts.ipv6 === 'absent' ? { 4: four } : { 4: four, 6: desiredQuestions(6, tun.name, port) };
}

function desiredFamily(
  family: Family,
  input: TakeOverInput,
  facts: Facts,
  cidrs: readonly Cidr[],
  exceptions: readonly Exception[],
  addressed: boolean,
  warnings: string[],
): DesiredFamily {
  const uplinks = desiredUplinks(family, input.tun.name, facts);
  const source = sourceOf(family, uplinks, facts);
  const from = source === undefined ? '' : ` src ${source}`;
  const into = exceptionRules(exceptions, family);
  const questions = addressed && input.dnsPort !== undefined ? QUESTION_RULES : [];
  const devices = facts.links.filter(({ name }) => name !== 'lo' && name !== input.tun.name);
  return {
    rules: [
      // On-link and local networks of a marked socket are found in main, of which this hides the defaults.
      {
        priority: RULE_MARKED_MAIN,
        spec: `fwmark ${MARKS} lookup ${MAIN_TABLE} suppress_prefixlength 0${HIDE_TUN[family]}`,
      },
      { priority: RULE_MARKED_UPLINK, spec: `fwmark ${MARKS} lookup ${UPLINK_TABLE}` },
      ...questions,
      ...into,
      ...devices.flatMap(({ name }) => deviceRules(name, family)),
      // Main ends without a match when the TUN is gone: connect(2) fails with ENETUNREACH, where a
      // route of type unreachable would give EHOSTUNREACH.
      { priority: RULE_END, spec: 'unreachable' },
    ],
    uplinks,
    uplinkEnd: `unreachable default metric ${UPLINK_END_METRIC} proto ${PROTOCOL}`,
    local: cidrs.flatMap((cidr) => localRoute(cidr, family, uplinks, input.tun.name, facts, warnings)),
    tunDefault: addressed
      ? `default dev ${input.tun.name} metric ${TUN_METRIC[family]} proto ${PROTOCOL}${from}`
      : undefined,
    source,
    guard: `throw default metric ${GUARD_METRIC[family]} proto ${PROTOCOL}`,
    captured: addressed
      ? [`default dev ${input.tun.name} metric ${TUN_TABLE_METRIC} proto ${PROTOCOL}${from}`]
      : [],
    devices: devices
      .filter(({ up }) => up && family === 4)
      .map(({ name, index }) => `local default dev ${name} metric ${index} proto ${PROTOCOL}`),
  };
}

/**
 * Lookups of sockets that are bound to a device, which pass by the TUN's default and, for IPv6, by the guard
 * behind it. They find the networks of main, but no default. Where such a lookup finds nothing, IPv4 takes every
 * destination for one on the device's link and asks for it there (ip_route_output_key in net/ipv4/route.c), so
 * it is made to find this machine.
 */
function deviceRules(name: string, family: Family): DesiredRule[] {
  const actions = [
    `lookup ${MAIN_TABLE} suppress_prefixlength ${WIDE_PREFIX_MAX}`,
    // The kernel itself asks by the device for the way of an ICMPv6 reply, but takes another one, too; where it
    // leaves is for the mark to say.
    ...(family === 4 ? [`lookup ${DEVICE_TABLE}`] : [`lookup ${TUN_TABLE}`, 'unreachable']),
  ];
  return actions.map((action, nth) => ({
    priority: RULE_DEVICE_FIRST + nth,
    spec: `oif ${name} ${action}`,
  }));
}

/**
 * The address that the uplink would give a socket. A server of UDP that is bound to no address answers
 * from it, and only then is known to answer what came in.
 */
function sourceOf(family: Family, uplinks: readonly Route[], facts: Facts): string | undefined {
  const uplink = uplinks.find((route) => route.dst === 'default' && route.type === 'unicast');
  if (uplink === undefined) return undefined;
  const words = uplink.spec.split(' ');
  const named = words.includes('src') ? words[words.indexOf('src') + 1] : undefined;
  const ofFamily = (address: string): boolean => address.includes(':') === (family === 6);
  if (named !== undefined) {
    // An address that nobody has any more is refused by the kernel.
    const held = facts.links.some((link) => link.addresses.some((text) => text.split('/')[0] === named));
    if (held) return named;
  }
  return facts.links.find((link) => link.name === uplink.dev)?.sources.find(ofFamily);
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
