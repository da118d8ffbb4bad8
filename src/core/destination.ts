import { parseCidr } from './cidr.ts';
import type { Cidr } from './cidr.ts';

/** First and last port, both included. */
export type PortRange = readonly [first: number, last: number];

/** Where packets go: a network, and of it only some ports or one protocol. */
export interface Destination {
  /** In canonical text, with its prefix. */
  readonly cidr: string;
  readonly ports?: PortRange;
  /** Both, where there are ports and no protocol; everything, ICMP too, where there are neither. */
  readonly protocol?: 'tcp' | 'udp';
}

const PORT_MAX = 65_535;

/**
 * Reads `CIDR`, `CIDR:PORT`, `CIDR:FIRST-LAST` and either of the latter with `/tcp` or `/udp` behind it; IPv6
 * with ports stands in brackets. Undefined when it is none of them.
 */
export function parseDestination(text: string): (Destination & { readonly parsed: Cidr }) | undefined {
  const plain = parseCidr(text);
  if (plain !== undefined) return { cidr: plain.text, parsed: plain };
  const match = /^(?:\[([^\]]+)\]|([^[\]:]+)):(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp))?$/.exec(text);
  if (match === null) return undefined;
  const [, six, four, firstText, lastText = firstText, protocol] = match;
  const parsed = parseCidr(six ?? four ?? '');
  const first = Number(firstText);
  const last = Number(lastText);
  if (parsed === undefined || parsed.family !== (six === undefined ? 4 : 6)) return undefined;
  if (first < 1 || last > PORT_MAX || first > last) return undefined;
  return {
    cidr: parsed.text,
    parsed,
    ports: [first, last],
    ...(protocol === 'tcp' || protocol === 'udp' ? { protocol } : {}),
  };
}

/** The one spelling, which `parseDestination` reads. */
export function destinationText({ cidr, ports, protocol }: Destination): string {
  if (ports === undefined) return cidr;
  const range = ports[0] === ports[1] ? String(ports[0]) : ports.join('-');
  const network = cidr.includes(':') ? `[${cidr}]` : cidr;
  return `${network}:${range}${protocol === undefined ? '' : `/${protocol}`}`;
}
