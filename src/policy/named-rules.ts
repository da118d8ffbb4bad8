/**
 * What the rules say of a name when it is looked up: nothing is known yet of flows to it, so that of a rule only its
 * names count, whatever else it asks.
 */
import { addressWords } from './address-words.ts';
import type { Facts } from './match.ts';
import { indexedMatcher } from './rule-index.ts';
import type { Rule } from './rule.ts';

export interface NamedRules {
  /** Whether a fake address is to stand for the name. */
  isFaked(name: string): boolean;
  /** Name of the bastion or group whose far end knows the name (lower case, without the closing dot). */
  upstreamOf(name: string): string;
}

const NOTHING_ASKED = {
  ...{ to: [], ports: [], protocol: undefined, uid: [], gid: [], process: [] },
  ...{ container: [], cgroup: [] },
};
const NOBODY = { address: '0.0.0.0', port: 0 };
const NO_FLOW: Omit<Facts, 'names'> = {
  tuple: { protocol: 'tcp', family: 4, source: NOBODY, destination: NOBODY },
  words: addressWords(NOBODY.address),
  owner: undefined,
};

/** The first of `rules` that asks for the name decides, or one that takes all names because it asks for hardly anything. */
export function namedRules(rules: readonly Rule[], lastResort: string): NamedRules {
  const asking = rules.filter((rule) => rule.names.length > 0 || takesAll(rule));
  const matcher = indexedMatcher(
    asking.map(({ names, via, where }) => ({ ...NOTHING_ASKED, names, via, where })),
  );
  const ruleOf = (name: string): Rule | undefined => asking[matcher.first({ ...NO_FLOW, names: [name] })];
  return {
    isFaked: (name) => ruleOf(name)?.resolve === 'fake',
    upstreamOf(name) {
      const via = ruleOf(name)?.via;
      return (via !== undefined && 'upstream' in via ? via.upstream : undefined) ?? lastResort;
    },
  };
}

/** Whether every TCP flow matches. */
function takesAll(rule: Rule): boolean {
  const { to, protocol, ports, names, uid, gid, process, container, cgroup } = rule;
  const everywhere = to.length === 0 || (to.includes('0.0.0.0/0') && to.includes('::/0'));
  const others = [ports, names, uid, gid, process, container, cgroup];
  return everywhere && protocol !== 'udp' && others.every((items) => items.length === 0);
}
