import type { Family } from '../core/flow.ts';
import { readFilter, readQuestions } from './filter-facts.ts';
import type { FilterFacts } from './filter-facts.ts';
import { PROTOCOL } from './ids.ts';
import { parseRoutes } from './route.ts';
import type { Route } from './route.ts';
import type { NetRunner } from './runner.ts';

/** A device and its addresses, as `ip -j -d addr` tells. */
export interface Link {
  readonly name: string;
  readonly index: number;
  readonly up: boolean;
  readonly mtu: number;
  readonly txqueuelen: number;
  /** Name, or number where it has none. */
  readonly group: string;
  /** `address/prefix`. */
  readonly addresses: readonly string[];
  /** Those that a socket without one of its own may get: global, and neither deprecated nor temporary. */
  readonly sources: readonly string[];
}

/** The state of a namespace as far as the takeover depends on it. */
export interface Facts {
  readonly routes: readonly Route[];
  /** Lines of `ip -N rule` with single blanks, by family. */
  readonly rules: Readonly<Record<Family, readonly string[]>>;
  readonly links: readonly Link[];
  /**
   * `absent`: the kernel has no IPv6. `off`: new devices get none (`disable_ipv6`, as container
   * engines set it for networks without IPv6), so nothing can leave by it.
   */
  readonly ipv6: 'on' | 'off' | 'absent';
  readonly filter: FilterFacts;
  /** Signatures of the tables that redirect questions to resolvers; undefined where there is none. */
  readonly questions: Readonly<Record<Family, readonly string[] | undefined>>;
}

interface AddressJson {
  readonly ifindex?: number;
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly txqlen?: number;
  readonly group?: string;
  readonly addr_info: readonly {
    readonly local?: string;
    readonly prefixlen: number;
    readonly scope?: string;
    readonly secondary?: boolean;
    readonly deprecated?: boolean;
    readonly temporary?: boolean;
    readonly tentative?: boolean;
    readonly dadfailed?: boolean;
  }[];
}

/** Reads the state. `tun` is the device that the takeover is about; it need not exist. */
export async function readFacts(runner: NetRunner, tun: string): Promise<Facts> {
  const [links, four, six, ipv6, filter, questions4, questions6] = await Promise.all([
    readLinks(runner),
    readFamily(runner, 4),
    readFamily(runner, 6),
    ipv6State(runner, tun),
    readFilter(runner),
    readQuestions(runner, 4),
    readQuestions(runner, 6),
  ]);
  return {
    routes: [...four.routes, ...six.routes],
    rules: { 4: four.rules, 6: six.rules },
    links,
    ipv6,
    filter,
    questions: { 4: questions4, 6: questions6 },
  };
}

/** `address/prefix` of every device but loopback and the TUN. */
export function networksOf(links: readonly Link[], tun: string): readonly string[] {
  return links.flatMap(({ name, addresses }) => (name === 'lo' || name === tun ? [] : addresses));
}

/** The same, read alone. */
export async function readNetworks(runner: NetRunner, tun: string): Promise<readonly string[]> {
  return networksOf(await readLinks(runner), tun);
}

async function readLinks(runner: NetRunner): Promise<Link[]> {
  return (JSON.parse(await runner.ip(['-j', '-d', 'addr', 'show'])) as AddressJson[]).map(parseLink);
}

/** One process for both lists, since starting processes is most of what a takeover takes. */
async function readFamily(runner: NetRunner, family: Family): Promise<{ routes: Route[]; rules: string[] }> {
  const text = await runner.ip(
    [`-${family}`, '-N', '-d', '-o', '-batch', '-'],
    'route show table all\nrule show\n',
  );
  const lines = text.split('\n');
  // A rule starts with its priority and a colon, a route with the number of its type.
  const isRule = (line: string): boolean => /^\d+:\s/.test(line);
  return {
    routes: parseRoutes(lines.filter((line) => !isRule(line)).join('\n'), family),
    rules: parseRules(lines.filter(isRule).join('\n')),
  };
}

async function ipv6State(runner: NetRunner, tun: string): Promise<Facts['ipv6']> {
  const [own, all, byDefault] = await Promise.all(
    [tun, 'all', 'default'].map((device) => runner.proc(`sys/net/ipv6/conf/${device}/disable_ipv6`)),
  );
  if (all === undefined) return 'absent';
  // A device that exists has its own setting; one that does not will start with the default.
  return (own ?? byDefault ?? all).trim() === '1' ? 'off' : 'on';
}

const OURS = ` proto ${PROTOCOL}`;

function parseRules(text: string): string[] {
  return (
    text
      .split('\n')
      .map((line) => line.replaceAll(/\s+/g, ' ').trim())
      // -N prints this action (FR_ACT_UNREACHABLE), and protocols, as numbers that `ip rule` does not take.
      .map((line) => (line.endsWith(OURS) ? line.replace(/ 7( proto \d+)$/, ' unreachable$1') : line))
      .map((line) =>
        line.replace(/ ipproto ipproto-6 /, ' ipproto tcp ').replace(/ ipproto ipproto-17 /, ' ipproto udp '),
      )
      // A rule outlives its device.
      .map((line) => line.replace(/ \[detached\]/g, ''))
      .filter((line) => line !== '')
  );
}

function parseLink(link: AddressJson): Link {
  return {
    name: link.ifname,
    index: link.ifindex ?? 0,
    up: link.flags.includes('UP'),
    mtu: link.mtu,
    txqueuelen: link.txqlen ?? 0,
    group: link.group ?? '',
    addresses: link.addr_info.flatMap(({ local, prefixlen }) =>
      local === undefined ? [] : [`${local}/${prefixlen}`],
    ),
    sources: link.addr_info.flatMap((info) =>
      info.local === undefined ||
      info.scope !== 'global' ||
      info.secondary === true ||
      info.deprecated === true ||
      info.temporary === true ||
      info.tentative === true ||
      info.dadfailed === true
        ? []
        : [info.local],
    ),
  };
}
