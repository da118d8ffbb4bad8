/**
 * What Docker's resolver tells of the networks that the namespace is on. It also answers CONTAINER.NETWORK, and
 * hands every other name on to resolvers outside, so it may be asked for nothing but names known to be its own.
 */
import { decode } from 'dns-packet';

import { DNS_NEAR_ATTEMPT_MS } from '../core/limits.ts';
import type { Near } from './near.ts';
import { makeQuery, TYPE } from './question.ts';
import { reverseZones } from './split.ts';
import { parseCidr } from '../core/cidr.ts';

export const DOCKER_RESOLVER = '127.0.0.11';

/** Names of the networks that these addresses of ours are on, as far as the resolver says. */
export async function askNetworkNames(near: Near, addresses: readonly string[]): Promise<readonly string[]> {
  const names = await Promise.all(addresses.map((address) => askNetworkName(near, address)));
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** The name of an address is NAME.NETWORK. */
async function askNetworkName(near: Near, address: string): Promise<string | undefined> {
  // The engine did not give it, and would hand the question on.
  if (/^fe[89ab]/i.test(address)) return undefined;
  const cidr = parseCidr(address);
  const [zone] = cidr === undefined ? [] : reverseZones(cidr);
  if (zone === undefined) return undefined;
  const query = makeQuery(zone, TYPE.ptr);
  const answer = await new Promise<Uint8Array | undefined>((resolve) => {
    near.ask(query, query.length, [DOCKER_RESOLVER], DNS_NEAR_ATTEMPT_MS, resolve);
  });
  if (answer === undefined) return undefined;
  try {
    const record = decode(Buffer.from(answer)).answers?.find(({ type }) => type === 'PTR');
    const name = record?.type === 'PTR' ? record.data.toLowerCase() : '';
    const dot = name.indexOf('.');
    return dot < 0 || dot === name.length - 1 ? undefined : name.slice(dot + 1);
  } catch {
    return undefined;
  }
}
