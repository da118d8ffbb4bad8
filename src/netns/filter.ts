/**
 * Layer 2 of the takeover: a table of nftables that lets nothing out by the uplinks but our own sockets,
 * replies to what came in, and local networks. It stays when netproxy dies.
 *
 * ```
 *  prerouting   a conversation that begins outside is marked in conntrack
 *  output       its replies get the mark that the uplink's rules ask for, and are routed once more
 *  output       (last) whatever leaves by an uplink must be one of those listed above
 *  forward      (last) the same for what the namespace routes for others, such as containers within it
 *  postrouting  (last) counts what leaves all the same: somebody made a hole in the above
 * ```
 *
 * Marks and verdicts: nft(8), STATEMENTS. The table is replaced whole, in one transaction.
 */
import { FWMARK, FWMARK_INBOUND } from '../core/limits.ts';
import { exceptionMatch } from './exceptions.ts';
import type { Exception } from './exceptions.ts';
import { EARLIER_UDP_S, TABLE } from './ids.ts';
import type { Chain } from './nft-table.ts';
import { tableScript, tableSignature } from './nft-table.ts';

/** What the table depends on. */
export interface FilterInput {
  /** Device of the TUN. */
  readonly tun: string;
  /** Networks that traffic may leave for, in canonical text, by family. */
  readonly local4: readonly string[];
  readonly local6: readonly string[];
  /** Destinations that go another way than their network, in order. */
  readonly exceptions: readonly Exception[];
  /** What becomes of traffic to the addresses of metadata services. */
  readonly metadata: 'reject' | 'direct';
}

/** What a counter counted since the table was made. */
export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** What the table counts and remembers, which a new version of it takes over. */
export interface FilterMemory {
  /** What left although it may not, and what was kept from it. */
  readonly leaked: Count;
  readonly refused: Count;
  /** UDP ports that were in use before there was a table, with the seconds they are still remembered. */
  readonly earlier: ReadonlyMap<number, number>;
}

/** A table as wanted. */
export interface DesiredFilter {
  /** What `nft -j list table` tells of it, shortened to one text for each chain and rule. */
  readonly signature: readonly string[];
  /** Lines of a script for `nft -f`. */
  script(memory: FilterMemory): string[];
}

/** NF_IP_PRI_MANGLE and NF_IP_PRI_SECURITY of linux/netfilter_ipv4.h: before routing again, and after everybody. */
const MANGLE = -150;
const LAST = 50;
/** After NF_IP_PRI_CONNTRACK_CONFIRM (INT_MAX is its place): nothing changes the packet any more. */
const WITNESS = 300;

/** Metadata services of clouds; a bastion's would hand out the bastion's credentials. */
const METADATA4 = '{ 169.254.169.254, 100.100.100.200 }';
const METADATA6 = 'fd00:ec2::254';

const REFUSE = 'reject with icmpx type no-route';
/** Neighbours, routers and group membership (RFC 4861, RFC 3810): what a link needs to work at all. */
const LINK_UPKEEP =
  'icmpv6 type { mld-listener-report, mld-listener-done, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report }';

const hex = (mark: number): string => `0x${mark.toString(16)}`;

type Rules = Chain['rules'];

/** Packets that came in and begin nothing: a reply, or an error that tells of one. */
const REPLIES = `ct direction reply ct mark ${hex(FWMARK_INBOUND)}`;

/** What may leave. `refuse` is what becomes of the rest. */
function egress({ tun, local4, local6, exceptions, metadata }: FilterInput, refuse: string): Rules {
  const networks = (title: string, family: string, list: readonly string[]): Rules =>
    list.length === 0 ? [] : [[title, `${family} daddr { ${list.join(', ')} } accept`]];
  return [
    ['loopback and the tunnel', `oifname { "lo", "${tun}" } accept`],
    ['own sockets', `meta mark ${hex(FWMARK)} accept`],
    ['replies to what came in', `${REPLIES} accept`],
    ...(metadata === 'reject'
      ? ([
          ['metadata services', `ip daddr ${METADATA4} ${refuse}`],
          ['metadata services, IPv6', `ip6 daddr ${METADATA6} ${refuse}`],
        ] as const)
      : []),
    ...exceptions.map((exception): readonly [string, string] =>
      exception.way === 'tunnel'
        ? ['belongs into the tunnel', `${exceptionMatch(exception)} ${refuse}`]
        : ['goes directly', `${exceptionMatch(exception)} accept`],
    ),
    ...networks('local networks', 'ip', local4),
    ...networks('local networks, IPv6', 'ip6', local6),
    ['membership of groups', 'ip protocol igmp accept'],
    ['upkeep of the link', `${LINK_UPKEEP} accept`],
    ['everything else', refuse],
  ];
}

function chainsOf(input: FilterInput): readonly Chain[] {
  const begins = `ct state new ct mark set ${hex(FWMARK_INBOUND)}`;
  const refused = egress(input, `counter name refused ${REFUSE}`);
  return [
    {
      name: 'inbound',
      type: 'filter',
      hook: 'prerouting',
      priority: MANGLE,
      rules: [
        ['not from outside', `iifname { "lo", "${input.tun}" } accept`],
        // Of a container within the namespace, whose port is published by it.
        ['answered where it came in', `meta mark 0 ${REPLIES} meta mark set ${hex(FWMARK_INBOUND)}`],
        // A SYN only: conntrack also takes the middle of a connection that is older than the table for a new one.
        ['a connection begins outside', `tcp flags & (syn | ack) == syn ${begins}`],
        ['a UDP conversation begins outside', `udp dport != @earlier ${begins}`],
        ['a question of ICMP', `icmp type echo-request ${begins}`],
        ['a question of ICMPv6', `icmpv6 type echo-request ${begins}`],
      ],
    },
    {
      name: 'replies',
      type: 'route',
      hook: 'output',
      priority: MANGLE,
      rules: [['answered where it came in', `meta mark 0 ${REPLIES} meta mark set ${hex(FWMARK_INBOUND)}`]],
    },
    { name: 'egress', type: 'filter', hook: 'output', priority: LAST, rules: refused },
    { name: 'forwarded', type: 'filter', hook: 'forward', priority: LAST, rules: refused },
    {
      name: 'witness',
      type: 'filter',
      hook: 'postrouting',
      priority: WITNESS,
      rules: egress(input, 'counter name leaked accept'),
    },
  ];
}

/** Computes the table. Pure. */
export function desiredFilter(input: FilterInput): DesiredFilter {
  const chains = chainsOf(input);
  return {
    signature: tableSignature(chains),
    script: (memory) =>
      tableScript(TABLE, chains, [
        ...(['leaked', 'refused'] as const).map(
          (name) =>
            `add counter ${TABLE} ${name} { packets ${memory[name].packets} bytes ${memory[name].bytes} }`,
        ),
        `add set ${TABLE} earlier { type inet_service; timeout ${EARLIER_UDP_S}s; }`,
        ...earlierElements(memory.earlier),
      ]),
  };
}

function earlierElements(earlier: FilterMemory['earlier']): string[] {
  if (earlier.size === 0) return [];
  const elements = [...earlier].map(([port, seconds]) => `${port} timeout ${seconds}s`);
  return [`add element ${TABLE} earlier { ${elements.join(', ')} }`];
}
