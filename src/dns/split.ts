/**
 * Which names are local: known to the namespace's own resolver and nobody else, and never to leave it for
 * another. All others are the far end's.
 */
import { parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';

/** `self`: answered here, without asking anybody. */
export type Side = 'local' | 'far' | 'self';

/**
 * Domains that no public server has: mDNS and the names of container engines and orchestrators (RFC 6762,
 * RFC 8375, and "internal", which ICANN set aside in 2024; Kubernetes: cluster.local, svc).
 */
const LOCAL_DOMAINS: readonly string[] = ['local', 'internal', 'home.arpa', 'svc'];

/** Reverse zones of loopback and link-local addresses (RFC 6303, 4.2 to 4.5). */
const LOCAL_ZONES: readonly string[] = [
  '127.in-addr.arpa',
  '254.169.in-addr.arpa',
  `1.${'0.'.repeat(31)}ip6.arpa`,
  '8.e.f.ip6.arpa',
  '9.e.f.ip6.arpa',
  'a.e.f.ip6.arpa',
  'b.e.f.ip6.arpa',
];

export interface SplitInput {
  /** Domains of the settings: those that are local, and those that never are. */
  readonly local: readonly string[];
  readonly far: readonly string[];
  /** Search domains of resolv.conf, and what else was found to be local. */
  readonly found: readonly string[];
  /** Networks whose reverse zones are local. */
  readonly networks: readonly string[];
}

/** Says of each name whose it is. Made anew when what it is made of changes. */
export class Split {
  readonly #sides: ReadonlyMap<string, Side>;

  constructor({ local, far, found, networks }: SplitInput) {
    const zones = networks.flatMap((text) => {
      const cidr = parseCidr(text);
      return cidr === undefined ? [] : reverseZones(cidr);
    });
    const sides = new Map<string, Side>();
    for (const name of [...LOCAL_DOMAINS, ...LOCAL_ZONES, ...zones, ...found]) sides.set(name, 'local');
    for (const name of far) sides.set(name, 'far');
    for (const name of local) sides.set(name, 'local');
    sides.set('localhost', 'self');
    this.#sides = sides;
  }

  /** `name` in lower case without the closing dot. The longest domain that is known decides. */
  sideOf(name: string): Side {
    for (let at = 0; ;) {
      const side = this.#sides.get(name.slice(at));
      if (side !== undefined) return side;
      const dot = name.indexOf('.', at);
      // The root is nobody's local name.
      if (dot < 0 || name === '.') return at === 0 && name !== '.' ? 'local' : 'far';
      at = dot + 1;
    }
  }
}

/** Zones of reverse look-ups that lie wholly within a network (RFC 1035, 3.5; RFC 3596, 2.5). */
export function reverseZones({ family, prefix, network }: Cidr): readonly string[] {
  const bits = family === 4 ? 8 : 4;
  const labels = family === 4 ? ipv4Labels(network) : ipv6Labels(network);
  const whole = Math.floor(prefix / bits);
  const suffix = family === 4 ? 'in-addr.arpa' : 'ip6.arpa';
  const zone = (parts: readonly string[]): string => [...parts.toReversed(), suffix].join('.');
  const rest = prefix % bits;
  // A mapped network is one of IPv4.
  if (prefix === 0 || (family === 6 && network.includes('.'))) return [];
  if (rest === 0) return [zone(labels.slice(0, whole))];
  const radix = family === 4 ? 10 : 16;
  const first = Number.parseInt(labels[whole] ?? '0', radix);
  return Array.from({ length: 2 ** (bits - rest) }, (_, i) =>
    zone([...labels.slice(0, whole), (first + i).toString(radix)]),
  );
}

function ipv4Labels(network: string): string[] {
  return (network.split('/')[0] ?? '').split('.');
}

function ipv6Labels(network: string): string[] {
  const [head = '', tail] = (network.split('/')[0] ?? '').split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = groups(tail ?? '');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].flatMap((group) => group.padStart(4, '0').split(''));
}
