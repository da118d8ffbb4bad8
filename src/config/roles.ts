/** What each bastion of the configuration is for. */
import type { BastionConfig, Config, GroupConfig } from './config.ts';

/** Name of the group of all bastions, in logs; none in the configuration can have it. */
const ALL = 'all bastions';

type Bastions = Pick<Config, 'groups' | 'groupPolicy'> & { readonly bastions: readonly BastionConfig[] };

/** Names of the bastions that others are reached through. */
export function hopsOf(bastions: readonly BastionConfig[]): ReadonlySet<string> {
  return new Set(bastions.flatMap(({ jump }) => jump ?? []));
}

/** The groups in use: without any, all bastions are one that are not the way to others. */
export function groupsOf({ bastions, groups, groupPolicy: policy }: Bastions): readonly GroupConfig[] {
  const last = ends(bastions);
  if (groups.length > 0 || last.length < 2) return groups;
  return [{ name: ALL, bastions: last, policy }];
}

/** The group or bastion where goes what no rule sends elsewhere. */
export function lastResortOf(config: Bastions): string {
  return groupsOf(config)[0]?.name ?? ends(config.bastions)[0]!;
}

/** Names of the bastions that carry flows of applications, and not only connections to other bastions. */
export function carriersOf(config: Bastions & Pick<Config, 'rules'>): ReadonlySet<string> {
  const names = new Set(config.bastions.map(({ name }) => name));
  const ruled = config.rules.flatMap(({ via }) => ('upstream' in via ? (via.upstream ?? []) : []));
  return new Set([
    ...ends(config.bastions),
    ...config.groups.flatMap(({ bastions }) => bastions),
    // A rule may name a group too, whose bastions are there already.
    ...ruled.filter((name) => names.has(name)),
  ]);
}

/** Never empty: a chain has no loop. */
function ends(bastions: readonly BastionConfig[]): readonly string[] {
  const hops = hopsOf(bastions);
  return bastions.flatMap(({ name }) => (hops.has(name) ? [] : name));
}

/** How many bastions a connection goes through before it comes to this one. */
export function depthOf(name: string, jumpOf: (name: string) => string | undefined): number {
  let depth = 0;
  for (let hop = jumpOf(name); hop !== undefined; hop = jumpOf(hop)) depth++;
  return depth;
}
