/**
 * Where a run's parts live. Mostly that is one network namespace, ours; the traffic may also be that of another one,
 * which a helper is in.
 */
import type { Native } from '../core/native.ts';
import { netCommands } from './runner.ts';
import type { NetRunner } from './runner.ts';

export interface Place {
  /** In the namespace whose traffic is forwarded: the TUN, whose sockets flows are, what changes, listeners. */
  readonly data: Native;
  /** For connections to bastions, and to look up their names. */
  readonly own: Native;
  /** For questions to resolvers that are near, and for flows that go past every bastion. */
  readonly near: Native;
  /** Acts on the namespace whose traffic is forwarded. */
  readonly runner: NetRunner;
  /**
   * The namespace has connections to bastions of our own in it, which must keep off the TUN and end with their
   * addresses.
   */
  readonly shared: boolean;
  /** The namespace has ways out beside the TUN. */
  readonly uplinks: boolean;
  /** Path of the resolv.conf of the namespace. */
  readonly resolvConf?: string;
  /** An address of nobody at which the namespace's resolv.conf looks for netproxy. */
  readonly resolver?: string;
  /** Number of the namespace (namespaces(7)); undefined: ours. */
  readonly number?: string;
  /** Its own devices say which networks are near; otherwise those of this process's namespace do. */
  readonly ownNetworks?: true;
  /** Namespaces of other processes are entered while it runs, which takes rights that a run gives up otherwise. */
  readonly entering?: true;
  /** Rejects when there is nobody in the namespace for us any more. */
  readonly lost?: Promise<never>;
}

/** One namespace for all: the one that this process lives in. */
export function here(native: Native): Place {
  return { data: native, own: native, near: native, runner: netCommands, shared: true, uplinks: true };
}
