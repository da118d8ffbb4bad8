/** Why a rule decides on a flow, and those before it do not, also when not all of the flow is known. */
import type { Endpoint, Family, FlowTuple } from '../core/flow.ts';
import type { Owner } from '../core/owner.ts';
import { addressWords } from './address-words.ts';
import { isLocalOnly } from './guard.ts';
import { testsOf } from './match.ts';
import type { Condition, Facts } from './match.ts';
import { rulesPolicy } from './policy.ts';
import type { Verdict } from './policy.ts';
import { ruleText } from './rule.ts';
import type { Rule } from './rule.ts';

/** What is asked about; what is undefined is not known. */
export interface Question {
  readonly protocol: FlowTuple['protocol'];
  readonly address: string | undefined;
  /** 0 for pings. */
  readonly port: number;
  readonly name: string | undefined;
  readonly owner: Owner | undefined;
}

/** A rule that was looked at. */
export interface Considered {
  readonly where: string;
  readonly rule: string;
  /** `unknown`: it decides if the conditions in `because` hold. */
  readonly matches: 'yes' | 'no' | 'unknown';
  /** The conditions that do not hold, are not known, or all, as the case is. */
  readonly because: string;
}

export interface Explanation {
  readonly verdict: Verdict;
  /** Rules up to the one that decides. */
  readonly considered: readonly Considered[];
}

/** Explains what becomes of a flow. An address that is unknown is in no network but that of everything. */
export function explain(rules: readonly Rule[], lastResort: string, question: Question): Explanation {
  const facts = factsOf(question);
  const considered: Considered[] = [];
  const guarded = question.address !== undefined && isLocalOnly(facts.words);
  for (const rule of guarded ? [] : rules) {
    const one = consider(rule, facts, question);
    considered.push(one);
    if (one.matches === 'yes') break;
  }
  // By the same code as flows: of the rules, only the one that decides.
  const deciding = rules[considered.length - 1];
  const decides = considered.at(-1)?.matches === 'yes' && deciding !== undefined;
  const bare: Rule[] = decides ? [{ ...NOTHING_ASKED, via: deciding.via, where: deciding.where }] : [];
  const verdict = rulesPolicy(bare, lastResort).decide(facts.tuple);
  if (!decides || verdict.rule.where !== deciding.where) {
    const why = rules.length > 0 && !guarded ? 'no rule matches' : verdict.why;
    return { verdict: { ...verdict, why }, considered };
  }
  const rule = { text: ruleText(deciding), where: deciding.where };
  return { verdict: { ...verdict, rule, why: considered.at(-1)!.because }, considered };
}

const NOTHING_ASKED: Omit<Rule, 'via' | 'where'> = {
  ...{ to: [], ports: [], protocol: undefined, names: [], uid: [], gid: [], process: [] },
  ...{ container: [], cgroup: [] },
};

/** Stands for an address that is not known: of no network that a rule could name by chance. */
const UNKNOWN_ADDRESS: Readonly<Record<Family, string>> = { 4: '0.0.0.0', 6: '::' };

function factsOf({ protocol, address, port, name, owner }: Question): Facts {
  const family: Family = address?.includes(':') === true ? 6 : 4;
  const destination: Endpoint = { address: address ?? UNKNOWN_ADDRESS[family], port };
  const source: Endpoint = { address: UNKNOWN_ADDRESS[family], port: 0 };
  return {
    tuple: { protocol, family, source, destination },
    words: addressWords(destination.address),
    names: name === undefined ? [] : [name],
    owner,
  };
}

const OF_OWNERS: ReadonlySet<Condition> = new Set(['uid', 'gid', 'process', 'container', 'cgroup']);

function consider(rule: Rule, facts: Facts, question: Question): Considered {
  const held: Condition[] = [];
  const unknown: Condition[] = [];
  const failed: Condition[] = [];
  for (const [condition, test] of testsOf(rule)) {
    const addressless = condition === 'to' && question.address === undefined;
    const known = addressless ? (isEverything(rule) ? true : undefined) : test(facts);
    const holds = question.protocol === 'icmp' && OF_OWNERS.has(condition) ? false : known;
    (holds === undefined ? unknown : holds ? held : failed).push(condition);
  }
  const common = { where: rule.where, rule: ruleText(rule) };
  const found = (conditions: readonly Condition[]): string =>
    conditions
      .map((each) => (each === 'to' && isEverything(rule) ? 'any address' : wordsOf(each, question)))
      .join(', ');
  if (failed.length > 0) return { ...common, matches: 'no', because: found(failed) };
  if (unknown.length > 0) return { ...common, matches: 'unknown', because: found(unknown) };
  return { ...common, matches: 'yes', because: found(held) || 'it asks nothing' };
}

function isEverything({ to }: Rule): boolean {
  return to.includes('0.0.0.0/0') && to.includes('::/0');
}

/** What is known of the flow for a condition. */
function wordsOf(condition: Condition, { protocol, address, port, name, owner }: Question): string {
  const said = (what: string, value: string | number | undefined): string =>
    value === undefined ? `${what} unknown` : `${what} ${value}`;
  switch (condition) {
    case 'protocol':
      return said('protocol', protocol);
    case 'to':
      return said('address', address);
    case 'ports':
      return protocol === 'icmp' ? 'a ping has no port' : said('port', port);
    case 'names':
      return said('name', name);
    case 'process':
      return said('process', owner?.process?.join(' '));
    default:
      if (protocol === 'icmp') return 'nobody knows who pings';
      return said(condition, owner?.[condition]);
  }
}
