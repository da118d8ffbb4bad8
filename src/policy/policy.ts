/**
 * Hop 3 of 8 (docs/data-path.md): what becomes of a flow. Before it, src/engine hands a flow over;
 * after it, src/forward carries the verdict out.
 */
import type { FlowTuple, RejectReason } from '../core/flow.ts';
import { NO_NAMES } from '../core/names.ts';
import type { Names } from '../core/names.ts';
import { NO_OWNERS } from '../core/owner.ts';
import type { Owner, Owners } from '../core/owner.ts';
import { isLocalOnly } from './guard.ts';
import type { Words } from './address-words.ts';
import { addressWords } from './address-words.ts';
import { firstMatching } from './match.ts';
import type { Facts } from './match.ts';
import { parseNamePattern } from './name-pattern.ts';
import type { NamePattern } from './name-pattern.ts';
import { indexedMatcher } from './rule-index.ts';
import { ruleText } from './rule.ts';
import type { Rule } from './rule.ts';

const DNS_PORT = 53;

/** A flow with what is known of it beside its tuple; what is absent is looked up when a rule asks for it. */
export interface FlowFacts extends FlowTuple {
  /** The name that the application asked for to have the destination's address. */
  readonly name?: string | undefined;
  readonly owner?: Owner | undefined;
}

/** The rule that decided, for the log and for people. */
export interface DecidingRule {
  /** The rule in words, such as `to 10.0.0.0/8, via main`. */
  readonly text: string;
  /** `file:line`, `NETPROXY_RULES:line`, `--rule:line`, or `built-in` for one of netproxy's own. */
  readonly where: string;
}

export type Outcome =
  | { readonly kind: 'upstream'; readonly upstream: string }
  /** By a marked socket of our own, past every bastion. */
  | { readonly kind: 'direct' }
  | { readonly kind: 'reject'; readonly reason: RejectReason }
  /** No answer at all. */
  | { readonly kind: 'drop' }
  /** A question for a resolver, which netproxy answers itself. */
  | { readonly kind: 'dns' }
  /** UDP and pings only: by a program on a bastion of `upstream`. */
  | { readonly kind: 'relay'; readonly upstream: string };

/** What becomes of a flow, which rule says so, and what of the flow that rule asked for. */
export type Verdict = Outcome & { readonly rule: DecidingRule; readonly why: string };

export interface Policy {
  /** Cheap, and never waits: asked once for each flow. */
  decide(flow: FlowFacts): Verdict;
}

/** Where the facts come from that a tuple does not have. */
export interface FactSources {
  readonly names?: Names;
  readonly owners?: Owners;
}

const builtIn = (text: string): DecidingRule => ({ text, where: 'built-in' });
const LOCAL_ONLY = builtIn('link-local and metadata addresses never leave');
const LAST_RESORT = builtIn('the last resort');
/** Of the fields of a log line, those that tell of a verdict's rule. */
export function ruleFields({ rule, why }: Pick<Verdict, 'rule' | 'why'>): { rule: string; because: string } {
  return { rule: rule.where === 'built-in' ? rule.text : `${rule.where} ${rule.text}`, because: why };
}

/** The first of `rules` that a flow matches decides; what none matches goes to `lastResort`. */
export function rulesPolicy(rules: readonly Rule[], lastResort: string, sources: FactSources = {}): Policy {
  const { names = NO_NAMES, owners = NO_OWNERS } = sources;
  const matcher = indexedMatcher(rules);
  const texts = rules.map((rule): DecidingRule => ({ text: ruleText(rule), where: rule.where }));
  const patterns = new Map<Rule, readonly NamePattern[]>();
  /** Of several names that share the address, the one that the rule asks for. */
  const nameFor = (rule: Rule, { names: [latest, ...others] }: Facts): string | undefined => {
    if (latest === undefined || others.length === 0) return latest;
    let known = patterns.get(rule);
    if (known === undefined) patterns.set(rule, (known = rule.names.map(parseNamePattern)));
    return firstMatching(known, [latest, ...others]);
  };
  return {
    decide(flow) {
      const facts = new LazyFacts(flow, names, owners);
      if (isLocalOnly(facts.words))
        return {
          kind: 'reject',
          reason: 'network-unreachable',
          rule: LOCAL_ONLY,
          why: flow.destination.address,
        };
      const index = matcher.first(facts);
      const rule = rules[index];
      const deciding = texts[index];
      if (rule === undefined || deciding === undefined) {
        const why = rules.length === 0 ? 'there are no rules' : 'no rule matches';
        return {
          ...outcome({ kind: 'upstream', upstream: lastResort }, flow, lastResort, false),
          rule: LAST_RESORT,
          why,
        };
      }
      return {
        ...outcome(rule.via, flow, lastResort, rule.ports.length > 0),
        rule: deciding,
        why: because(rule, facts, nameFor),
      };
    },
  };
}

/** The policy without rules: everything that may leave goes to the last resort. */
export function defaultPolicy(lastResort: string): Policy {
  return rulesPolicy([], lastResort);
}

/**
 * Questions to resolvers are answered by netproxy itself, which decides by the name where each goes. A rule that
 * means addresses at large does not mean them: it would cut off all names, or let them out. One that names
 * their port does (`ported`).
 */
function outcome(
  via: Rule['via'],
  { protocol, destination }: FlowTuple,
  lastResort: string,
  ported: boolean,
): Outcome {
  const question = destination.port === DNS_PORT;
  if (question && !(ported && (via.kind !== 'upstream' || protocol === 'tcp'))) return { kind: 'dns' };
  if (via.kind === 'relay') return { kind: 'relay', upstream: via.upstream ?? lastResort };
  if (via.kind !== 'upstream' || protocol !== 'udp') return via;
  // At once, not silently: a client that tries UDP first (QUIC) falls back to TCP.
  return { kind: 'reject', reason: 'refused' };
}

/** What of the flow the rule asked for, as found. */
function because(
  rule: Rule,
  facts: Facts,
  nameFor: (rule: Rule, facts: Facts) => string | undefined,
): string {
  const { destination, protocol } = facts.tuple;
  let found = '';
  if (rule.to.length > 0) found += `, to ${destination.address}`;
  if (rule.ports.length > 0) found += `, port ${destination.port}`;
  if (rule.protocol !== undefined) found += `, protocol ${protocol}`;
  if (rule.names.length > 0) found += `, name ${nameFor(rule, facts)}`;
  if (rule.uid.length > 0) found += `, uid ${facts.owner?.uid}`;
  if (rule.gid.length > 0) found += `, gid ${facts.owner?.gid}`;
  if (rule.process.length > 0) found += `, process ${facts.owner?.process?.join(' ')}`;
  if (rule.container.length > 0) found += `, container ${facts.owner?.container}`;
  if (rule.cgroup.length > 0) found += `, cgroup ${facts.owner?.cgroup}`;
  return found === '' ? 'it asks nothing' : found.slice(2);
}

/** Looks up what a rule asks for, once. */
class LazyFacts implements Facts {
  readonly tuple: FlowFacts;
  readonly #names: Names;
  readonly #owners: Owners;
  #words: Words | undefined;
  #known: readonly string[] | undefined;
  #owner: Owner | undefined;
  #owned = false;

  constructor(tuple: FlowFacts, names: Names, owners: Owners) {
    this.tuple = tuple;
    this.#names = names;
    this.#owners = owners;
  }

  get words(): Words {
    this.#words ??= addressWords(this.tuple.destination.address);
    return this.#words;
  }

  get names(): readonly string[] {
    const { name, destination } = this.tuple;
    this.#known ??= name === undefined ? this.#names.namesOf(destination.address) : [name];
    return this.#known;
  }

  get owner(): Owner | undefined {
    if (!this.#owned) {
      this.#owned = true;
      this.#owner = this.tuple.owner ?? this.#owners.ownerOf(this.tuple);
    }
    return this.#owner;
  }
}
