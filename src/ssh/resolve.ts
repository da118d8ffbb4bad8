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

/** The addresses of a bastion, found once; a name that had none is asked for again before each attempt. */
export class Addresses {
  readonly #host: string;
  readonly #port: number;
  #found: Promise<readonly Endpoint[]> | undefined;

  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  get(): Promise<readonly Endpoint[]> {
    this.#found ??= this.#find();
    return this.#found;
  }

  /** Why there is none, if so. */
  async resolve(): Promise<NetproxyError | undefined> {
    try {
      await this.get();
      return undefined;
    } catch (error) {
      if (error instanceof NetproxyError) return error;
      throw error;
    }
  }

  async #find(): Promise<readonly Endpoint[]> {
    try {
      return await resolveBastion(this.#host, this.#port);
    } catch (error) {
      this.#found = undefined;
      throw error;
    }
  }
}
