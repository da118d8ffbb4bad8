import { lookup } from 'node:dns/promises';

import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';

/**
 * The addresses of a bastion, asked of the system's resolver in its order. Called before the namespace
 * is taken over: afterwards the resolver's packets would go to the bastion that they are to find.
 * Throws `BASTION_UNRESOLVED`.
 */
export async function resolveBastion(host: string, port: number): Promise<readonly Endpoint[]> {
  try {
    const found = await lookup(host, { all: true, order: 'verbatim' });
    return found.map(({ address }) => ({ address, port }));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new NetproxyError('BASTION_UNRESOLVED', `the bastion's name ${host} has no address: ${reason}`, {
      cause,
    });
  }
}
