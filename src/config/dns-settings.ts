/** Of the table of settings, what concerns DNS, and how its values are written. */
import { isIP } from 'node:net';

import { formatEndpoint } from '../core/address.ts';
import { canonicalAddress, offsetIn, parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import type { Problem } from '../core/errors.ts';
import { DNS_LISTEN_PORT, DNS_STALE_MS } from '../core/limits.ts';
import type { FarResolver } from '../core/names.ts';
import { suggest } from '../core/suggest.ts';
import type { DnsConfig } from './config.ts';
import type { Placed } from './credentials.ts';
import * as kind from './kind.ts';
import { BadValue } from './kind.ts';
import type { Kind } from './kind.ts';
import type { Setting } from './setting.ts';

/** As in `SettingValues`. */
export interface DnsSettingValues {
  'dns.upstream': FarResolver | 'auto';
  'dns.local': string;
  'dns.far': string;
  'dns.resolvers': string;
  'dns.aaaa': DnsConfig['aaaa'];
  'dns.stale': number;
  'dns.port': number;
  'dns.fake4': string;
  'dns.fake6': string;
  'dns.fakeFile': string;
}

type Rows = { readonly [I in keyof DnsSettingValues]: Setting<DnsSettingValues[I]> };

const WEEK_MS = 7 * 24 * 3_600_000;

/** The port of DNS (RFC 1035, 4.2). */
const DNS_PORT = 53;

/** A domain: the name itself and all below it. The value is in lower case, without dots at the ends. */
const domain: Kind<string> = {
  placeholder: 'DOMAIN',
  allowed: 'a domain such as corp.example, which stands for all names below it too',
  parse(text) {
    const name = text
      .toLowerCase()
      .replace(/^\*?\./, '')
      .replace(/\.$/, '');
    const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
    if (name.length > 253 || !name.split('.').every((part) => label.test(part))) {
      throw new BadValue('not a domain');
    }
    return name;
  },
};

/** A resolver of a far end, or that it is to be found. */
const farResolver: Kind<FarResolver | 'auto'> = {
  placeholder: 'auto|[NAME=]ADDRESS',
  allowed:
    'auto, or an address such as 10.0.0.2, 10.0.0.2:5353, 2001:db8::1 or [2001:db8::1]:5353, for another bastion or group than the first with its name before it, as in office=10.0.0.2',
  words: ['auto'],
  parse(given) {
    if (given === 'auto') return 'auto';
    const at = given.indexOf('=');
    const upstream = at < 0 ? undefined : kind.name.parse(given.slice(0, at));
    const text = given.slice(at + 1);
    const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? [];
    const address = isIP(text) === 6 ? text : (bracketed ?? plain ?? '');
    const family = isIP(address);
    if (family === 0) {
      throw new BadValue('not an address', {
        hint: 'A name would have to be looked up by the resolver itself.',
      });
    }
    const number = digits === undefined || isIP(text) === 6 ? DNS_PORT : kind.port.parse(digits);
    return { upstream, address: canonicalAddress(address, family === 4 ? 4 : 6), port: number };
  },
  format(value) {
    if (value === 'auto') return value;
    return `${value.upstream === undefined ? '' : `${value.upstream}=`}${formatEndpoint(value)}`;
  },
};

/** Checks that resolvers are those of bastions and groups that there are. */
export function checkFarResolvers(
  resolvers: readonly Placed<FarResolver | 'auto'>[],
  upstreams: readonly string[],
  problems: Problem[],
): void {
  for (const { value, where } of resolvers) {
    const name = value === 'auto' ? undefined : value.upstream;
    if (name === undefined || upstreams.includes(name)) continue;
    const near = suggest(name, upstreams);
    problems.push({
      code: 'CONFIG_INVALID',
      where,
      message: `found "${name}", which is no bastion or group; allowed: ${upstreams.join(', ') || 'their names'}`,
      hint: near === undefined ? 'Name one of them.' : `Did you mean ${near}?`,
    });
  }
}

/** A resolver of the namespace, or that resolv.conf names it. */
const nearResolver: Kind<string> = {
  placeholder: 'auto|ADDRESS',
  allowed: 'auto, or an address such as 127.0.0.11 or fe80::1%eth0',
  words: ['auto'],
  parse(text) {
    if (text !== 'auto' && isIP(text.split('%')[0] ?? '') === 0) throw new BadValue('not an address');
    return text;
  },
};

/** A network for addresses that stand for names. */
function fakeRange(family: 4 | 6): Kind<string> {
  const longest = family === 4 ? 30 : 126;
  return {
    placeholder: 'CIDR',
    allowed: `an IPv${family} network with a prefix of at most ${longest} that nobody uses`,
    parse(text) {
      const parsed = parseCidr(kind.cidr.parse(text));
      if (parsed?.family !== family) throw new BadValue(`not of IPv${family}`);
      if (parsed.prefix > longest) throw new BadValue('too small');
      return parsed.network;
    },
  };
}

/** A fake address that were the TUN's would be answered by the kernel. */
export function checkFakeRanges(
  ranges: readonly (readonly [key: string, range: string | undefined, tun: string | undefined])[],
  origins: ReadonlyMap<string, string>,
  problems: Problem[],
): void {
  for (const [key, range, tun] of ranges) {
    const networks = [range, tun].flatMap((text) => (text === undefined ? [] : (parseCidr(text) ?? [])));
    const [one, other] = networks;
    if (one === undefined || other === undefined) continue;
    const within = (outer: Cidr, inner: Cidr): boolean =>
      offsetIn(outer, inner.network.split('/')[0] ?? '') !== undefined;
    if (!within(one, other) && !within(other, one)) continue;
    problems.push({
      code: 'CONFIG_INVALID',
      where: origins.get(key) ?? key,
      message: `found ${range}, which overlaps with the network of the TUN, ${tun}; allowed: networks that do not`,
      hint: `Choose another network for ${key}, or another address for the TUN.`,
    });
  }
}

export const dnsRows: Rows = {
  'dns.upstream': {
    key: 'dns.upstream',
    flag: 'dns-upstream',
    env: 'NETPROXY_DNS_UPSTREAM',
    kind: farResolver,
    list: true,
    one: true,
    group: 'DNS',
    description:
      'Resolvers at the far end for all names that are not local; "auto", which is the same as none, looks for them on the bastion and in its resolv.conf. Names that rules send to another bastion or group than the first are asked of its own resolvers, NAME=ADDRESS, which are looked for too.',
  },
  'dns.local': {
    key: 'dns.local',
    flag: 'dns-local',
    env: 'NETPROXY_DNS_LOCAL',
    kind: domain,
    list: true,
    one: true,
    group: 'DNS',
    description:
      'Domains that the resolvers of the namespace know, beside names without a dot, search domains, "local", "internal", "home.arpa", "svc" and reverse zones of local networks.',
  },
  'dns.far': {
    key: 'dns.far',
    flag: 'dns-far',
    env: 'NETPROXY_DNS_FAR',
    kind: domain,
    list: true,
    one: true,
    group: 'DNS',
    description: 'Domains that the far end knows although a search domain or the like makes them local.',
  },
  'dns.resolvers': {
    key: 'dns.resolvers',
    flag: 'dns-resolvers',
    env: 'NETPROXY_DNS_RESOLVERS',
    kind: nearResolver,
    list: true,
    one: true,
    group: 'DNS',
    description:
      'Resolvers of the namespace, which local names may go to; "auto", which is the same as none, takes those of /etc/resolv.conf.',
  },
  'dns.aaaa': {
    key: 'dns.aaaa',
    flag: 'dns-aaaa',
    env: 'NETPROXY_DNS_AAAA',
    kind: kind.oneOf('auto', 'yes', 'no'),
    default: 'auto',
    group: 'DNS',
    description:
      'Whether applications are given IPv6 addresses of the far end; "auto" is "yes" while the bastion has a route to them.',
  },
  'dns.stale': {
    key: 'dns.stale',
    flag: 'dns-stale',
    env: 'NETPROXY_DNS_STALE',
    kind: kind.duration(0, WEEK_MS),
    default: kind.durationText(DNS_STALE_MS),
    group: 'DNS',
    description: 'How long an answer may be used beyond its time while no newer one can be had.',
  },
  'dns.port': {
    key: 'dns.port',
    flag: 'dns-port',
    env: 'NETPROXY_DNS_PORT',
    kind: kind.port,
    default: String(DNS_LISTEN_PORT),
    group: 'DNS',
    description:
      'Port on 127.0.0.1 and ::1 to which questions to resolvers within the namespace are redirected.',
  },
  'dns.fake4': {
    key: 'dns.fake4',
    flag: 'dns-fake4',
    env: 'NETPROXY_DNS_FAKE4',
    kind: fakeRange(4),
    default: '198.19.0.0/16',
    group: 'DNS',
    description:
      'Network of the IPv4 addresses that stand for names of rules with "resolve: fake"; that of the TUN is not in it.',
  },
  'dns.fake6': {
    key: 'dns.fake6',
    flag: 'dns-fake6',
    env: 'NETPROXY_DNS_FAKE6',
    kind: fakeRange(6),
    default: 'fd6e:7072:0:1::/112',
    group: 'DNS',
    description: 'The same of IPv6.',
  },
  'dns.fakeFile': {
    key: 'dns.fakeFile',
    flag: 'dns-fake-file',
    env: 'NETPROXY_DNS_FAKE_FILE',
    kind: kind.file,
    group: 'DNS',
    description:
      'File in which these addresses are kept, so that they stand for the same names after a restart; it is written by netproxy.',
  },
};
