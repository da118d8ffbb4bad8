/**
 * Layer 2 of the takeover: a table of nftables that lets nothing out by the uplinks but our own sockets,
 * replies to what came in, and local networks. It stays when netproxy dies.
 *
 * ```
 *  prerouting   a conversation that begins outside is marked in conntrack
 *  output       its replies get the mark that the uplink's rules ask for, and are routed once more
 *  output       questions to resolvers that no route leads into the TUN go to our listener
 *  output       (last) whatever leaves by an uplink must be one of those listed above
 *  forward      (last) the same for what the namespace routes for others, such as containers within it
 *  postrouting  (last) counts what leaves all the same: somebody made a hole in the above
 * ```
 *
 * Marks and verdicts: nft(8), STATEMENTS. The table is replaced whole, in one transaction.
 */
import { createHash } from 'node:crypto';

import { FWMARK, FWMARK_INBOUND } from '../core/limits.ts';
import { exceptionMatch } from './exceptions.ts';
import type { Exception } from './exceptions.ts';
import { EARLIER_UDP_S, TABLE } from './ids.ts';

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
  /** Port of the listener for questions to resolvers; undefined: they go where they went. */
  readonly dnsPort: number | undefined;
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

interface Chain {
  readonly name: string;
  readonly type: 'filter' | 'route' | 'nat';
  readonly hook: 'prerouting' | 'output' | 'forward' | 'postrouting';
  /** A number, as the kernel tells it: names differ between versions of nft. */
  readonly priority: number;
  /** What each rule is for, which stands in the table as its comment, and the rule. */
  readonly rules: readonly (readonly [purpose: string, rule: string])[];
}

/** NF_IP_PRI_MANGLE and NF_IP_PRI_SECURITY of linux/netfilter_ipv4.h: before routing again, and after everybody. */
const MANGLE = -150;
const LAST = 50;
/** Ahead of NF_IP_PRI_NAT_DST (-100), where container engines lead questions to their own resolvers. */
const BEFORE_DNAT = -150;
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

/**
 * On loopback, on a device that the socket is bound to, on the link alone: where no rule of routing leads questions
 * to resolvers into the TUN.
 */
function questions({ tun, dnsPort }: FilterInput): readonly Chain[] {
  if (dnsPort === undefined) return [];
  const question = `oifname != "${tun}" meta mark != ${hex(FWMARK)} meta l4proto { tcp, udp } th dport 53`;
  return [
    {
      name: 'dns',
      type: 'nat',
      hook: 'output',
      priority: BEFORE_DNAT,
      rules: [['questions to resolvers', `${question} redirect to :${dnsPort}`]],
    },
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
    ...questions(input),
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

/** Text of a chain in a signature. */
export function chainSignature(name: string, type: string, hook: string, priority: number): string {
  return `${name}: ${type} ${hook} ${priority}`;
}

/** Text of a rule in a signature. */
export function ruleSignature(chain: string, comment: string): string {
  return `${chain}: ${comment}`;
}

/** Computes the table. Pure. */
export function desiredFilter(input: FilterInput): DesiredFilter {
  const chains = chainsOf(input);
  // A rule as `nft` lists it is written otherwise than it was given, and otherwise by each version: the
  // digest in its comment says what it was made from.
  const comment = (purpose: string, rule: string): string =>
    `${purpose} #${createHash('sha256').update(rule).digest('hex').slice(0, 8)}`;
  return {
    signature: chains.flatMap((chain) => [
      chainSignature(chain.name, chain.type, chain.hook, chain.priority),
      ...chain.rules.map(([purpose, rule]) => ruleSignature(chain.name, comment(purpose, rule))),
    ]),
    script: (memory) => [
      // Deleting what is not there fails, so it is made first.
      `add table ${TABLE}`,
      `delete table ${TABLE}`,
      `add table ${TABLE}`,
      ...(['leaked', 'refused'] as const).map(
        (name) =>
          `add counter ${TABLE} ${name} { packets ${memory[name].packets} bytes ${memory[name].bytes} }`,
      ),
      `add set ${TABLE} earlier { type inet_service; timeout ${EARLIER_UDP_S}s; }`,
      ...earlierElements(memory.earlier),
      ...chains.flatMap(({ name, type, hook, priority, rules }) => [
        `add chain ${TABLE} ${name} { type ${type} hook ${hook} priority ${priority}; policy accept; }`,
        ...rules.map(
          ([purpose, rule]) => `add rule ${TABLE} ${name} ${rule} comment "${comment(purpose, rule)}"`,
        ),
      ]),
    ],
  };
}

function earlierElements(earlier: FilterMemory['earlier']): string[] {
  if (earlier.size === 0) return [];
  const elements = [...earlier].map(([port, seconds]) => `${port} timeout ${seconds}s`);
  return [`add element ${TABLE} earlier { ${elements.join(', ')} }`];
}
