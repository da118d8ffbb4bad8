/**
 * Destinations that are never sent to a bastion, whatever the rules say: they mean this machine or its
 * cloud, and would mean the bastion's own there. A bastion's metadata service hands out the bastion's
 * credentials.
 */
import { BlockList } from 'node:net';

import type { Endpoint, Family } from '../core/flow.ts';

const LOCAL_ONLY: readonly (readonly [network: string, prefix: number, family: 'ipv4' | 'ipv6'])[] = [
  ['169.254.0.0', 16, 'ipv4'], // link-local (RFC 3927), and the metadata service of most clouds
  ['100.100.100.200', 32, 'ipv4'], // metadata service of one cloud
  ['fd00:ec2::254', 128, 'ipv6'], // metadata service of another
  ['fe80::', 10, 'ipv6'], // link-local (RFC 4291)
];

const blocked: BlockList = new BlockList();
for (const [network, prefix, family] of LOCAL_ONLY) blocked.addSubnet(network, prefix, family);

/** True for link-local and cloud metadata addresses. */
export function isLocalOnly(destination: Endpoint, family: Family): boolean {
  return blocked.check(destination.address, family === 4 ? 'ipv4' : 'ipv6');
}
