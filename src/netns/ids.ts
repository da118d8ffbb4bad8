import type { Family } from '../core/flow.ts';

/**
 * The numbers by which our state in a namespace is told from everybody else's, also by a successor
 * after we were killed. They are a contract between releases: a changed number orphans what an older
 * netproxy left.
 */

/** Routing table main, by number as everything here (see route.ts). */
export const MAIN_TABLE = '254';

/** Protocol of routes that the kernel makes by itself (RTPROT_KERNEL). */
export const PROTOCOL_KERNEL = '2';

/** Protocol of routes that the kernel makes from router advertisements (RTPROT_RA). */
export const PROTOCOL_RA = '9';

/** Routing table that keeps the uplinks' defaults: "np" in ASCII. */
export const UPLINK_TABLE = '28272';

/** Routing table that leads into the TUN what main would not. */
export const TUN_TABLE = '28273';
/** Metric of its route: one that `ip` prints, which it does not with 0. */
export const TUN_TABLE_METRIC = '1';

/** Group of the TUN (`ip link`), by which a rule tells what leads there. */
export const TUN_GROUP = '28272';

/** Routing table in which IPv4's lookups for a device end. */
export const DEVICE_TABLE = '28274';

/** `proto` of every route and rule of ours; no routing daemon of rtnetlink(7) or iproute2 has it. */
export const PROTOCOL = '110';

/**
 * Priorities of our rules. The first two come right after `local` (0), ahead of every rule that
 * others make; the last one shares main's priority and so stands right behind it.
 */
export const RULE_MARKED_MAIN = 10;
export const RULE_MARKED_UPLINK = 11;
/** Of the rules for questions to resolvers: two for each protocol. */
export const RULE_DNS = 12;
export const RULE_END = 32766;
/** Priorities of the rules for lookups of one device: right ahead of main, behind everybody's. */
export const RULE_DEVICE_FIRST = 32763;
export const RULE_DEVICE_LAST = 32765;
/** Priority of the first rule for a destination that goes another way than its network; each takes two. */
export const RULE_EXCEPTIONS = 20;

/** Metric of the default by the TUN: the lowest there is (IPv6 reads 0 as "unset, take 1024"). */
export const TUN_METRIC = { 4: '0', 6: '1' } as const;
/** Metric of the guard: next to the TUN's, so that a default that DHCP, a router advertisement or a
 * container engine adds later stands behind it. */
export const GUARD_METRIC = { 4: '1', 6: '2' } as const;
/** Metric of the end of the uplink table: behind every real default. */
export const UPLINK_END_METRIC = '4278198272';
/** Metric of the routes of local networks. */
export const LOCAL_METRIC = '50';

/** Our table of nftables, with its family. */
export const TABLE = 'inet netproxy';
/** Those that redirect questions to resolvers: nat in the family `inet` takes Linux 5.2, in these it is older. */
export const QUESTION_TABLES: Readonly<Record<Family, string>> = {
  4: 'ip netproxy_dns',
  6: 'ip6 netproxy_dns',
};

/** Seconds for which UDP ports that were in use before the table count as a client's: longer than a
 * conversation without a word lasts (nf_conntrack_udp_timeout_stream is 120). */
export const EARLIER_UDP_S = 300;
