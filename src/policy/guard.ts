/**
 * Destinations that are never sent to a bastion, whatever the rules say: they mean this machine or its
 * cloud, and would mean the bastion's own there. A bastion's metadata service hands out the bastion's
 * credentials.
 */
import { contains, networkOf } from './address-words.ts';
import type { Network, Words } from './address-words.ts';

export const LOCAL_ONLY: readonly Network[] = [
  '169.254.0.0/16', // link-local (RFC 3927), and the metadata service of most clouds
  '100.100.100.200/32', // metadata service of one cloud
  'fd00:ec2::254/128', // metadata service of another
  'fe80::/10', // link-local (RFC 4291)
  '::ffff:169.254.0.0/112', // the same by IPv4-mapped addresses
  '::ffff:100.100.100.200/128',
].map(networkOf);

/** True for link-local and cloud metadata addresses. */
export function isLocalOnly(words: Words): boolean {
  const address = { words, prefix: 32 * words.length };
  return LOCAL_ONLY.some((network) => contains(network, address));
}
