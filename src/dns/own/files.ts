/** What a lookup of netproxy's own reads of the namespace: resolv.conf(5) and hosts(5). Pure. */
import { isIP } from 'node:net';

export interface ResolvConf {
  /** Addresses, in order; at most three, as of glibc (MAXNS). */
  readonly nameservers: readonly string[];
  /**
   * Those that Docker's embedded resolver asks for outside names, when it does so from within this namespace
   * (`ExtServers` in its comment): its own questions are not marked, so the tunnel would swallow them.
   */
  readonly behind: readonly string[];
  readonly search: readonly string[];
  /** Dots from which on a name is tried as it is before the search domains. */
  readonly ndots: number;
}

const NAMESERVERS_MAX = 3;
const SEARCH_MAX = 32;
const NDOTS_MAX = 15;

/** Never fails: what cannot be understood is left out, as glibc does. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let behind: string[] = [];
  let search: string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const outside = /^# ExtServers: \[(.*)\]/.exec(line)?.[1];
    // `host(ADDRESS)` is asked from the engine's own namespace, which the tunnel does not reach.
    if (outside !== undefined) behind = outside.split(/[\s,]+/).filter(isAddress);
    const [keyword = '', ...words] = line.split(/\s+/).filter((word) => word !== '');
    if (/^[#;\s]/.test(line)) continue;
    if (keyword === 'nameserver') nameservers.push(...words.slice(0, 1).filter(isAddress));
    else if (keyword === 'search' || keyword === 'domain') search = words.slice(0, SEARCH_MAX);
    else if (keyword === 'options') {
      const given = /^ndots:(\d{1,3})$/.exec(words.findLast((word) => word.startsWith('ndots:')) ?? '')?.[1];
      if (given !== undefined) ndots = Math.min(Number(given), NDOTS_MAX);
    }
  }
  return {
    nameservers: nameservers.length === 0 ? ['127.0.0.1'] : nameservers.slice(0, NAMESERVERS_MAX),
    behind: behind.slice(0, NAMESERVERS_MAX),
    search: search.map((domain) => domain.replace(/\.$/, '')).filter((domain) => domain !== ''),
    ndots,
  };
}

const isAddress = (text: string): boolean => isIP(text) !== 0;

/** The addresses of `name` in the text of a hosts file, in its order. */
export function findInHosts(text: string, name: string): string[] {
  const wanted = name.replace(/\.$/, '').toLowerCase();
  const found = text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').split(/\s+/).filter(Boolean);
    return isAddress(address) && names.some((other) => other.toLowerCase() === wanted) ? [address] : [];
  });
  return [...new Set(found)];
}

/** The names to ask for, in order. */
export function candidates(name: string, { search, ndots }: Pick<ResolvConf, 'search' | 'ndots'>): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const searched = search.map((domain) => `${name}.${domain}`);
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...searched] : [...searched, name];
}
