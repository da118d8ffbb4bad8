/** Networks of a cluster, as few as they can be written as. */
import { addressBits, addressFromBits, BITS, parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import type { Family } from '../core/flow.ts';

/** The same addresses in order, without overlaps, and neighbours joined where together they are a network. */
export function joinNetworks(networks: readonly Cidr[]): string[] {
  return ([4, 6] as const).flatMap((family) =>
    joinRanges(networks.filter((cidr) => cidr.family === family).map(rangeOf)).flatMap((range) =>
      divide(range, family),
    ),
  );
}

/** First address, and the one behind the last. */
type Range = readonly [first: bigint, end: bigint];

function rangeOf({ family, network, prefix }: Cidr): Range {
  const first = addressBits(network.slice(0, network.indexOf('/')), family);
  return [first, first + (1n << BigInt(BITS[family] - prefix))];
}

function joinRanges(ranges: readonly Range[]): Range[] {
  const joined: Range[] = [];
  for (const [first, end] of ranges.toSorted(([a], [b]) => (a < b ? -1 : Number(a > b)))) {
    const last = joined.at(-1);
    if (last === undefined || first > last[1]) joined.push([first, end]);
    else if (end > last[1]) joined[joined.length - 1] = [last[0], end];
  }
  return joined;
}

/** The networks that a range is made of: each time the largest that begins here and does not go beyond. */
function divide([first, end]: Range, family: Family): string[] {
  const networks: string[] = [];
  for (let at = first; at < end;) {
    let host = 0;
    while (host < BITS[family] && (at >> BigInt(host)) % 2n === 0n && at + (2n << BigInt(host)) <= end)
      host++;
    networks.push(`${addressFromBits(at, family)}/${BITS[family] - host}`);
    at += 1n << BigInt(host);
  }
  return networks;
}

/** Those of the texts that are networks. */
export function networksOf(texts: readonly unknown[]): Cidr[] {
  return texts.flatMap((text) => (typeof text === 'string' ? (parseCidr(text) ?? []) : []));
}
