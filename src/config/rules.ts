/** From the maps of a list of rules to rules, with everything that is wrong with them. */
import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import type { Rule } from '../policy/rule.ts';
import { ruleText, VIA_WORDS } from '../policy/rule.ts';
import { shadowedRules } from '../policy/shadow.ts';
import type { FileItem } from './file.ts';
import type { RuleSettingValues } from './rule-settings.ts';
import { setting } from './settings.ts';
import type { Warning } from './ssh-config/host.ts';
import { originOf, readValue } from './value.ts';

type RuleId = Exclude<keyof RuleSettingValues, 'rule'>;

/**
 * Reads `items`. `upstreams` are the names that `via` may have, undefined when that is not to be judged.
 * Each value's origin is added to `origins`. The result is made once no problem stands.
 */
export function readRules(
  items: readonly FileItem[],
  upstreams: readonly string[] | undefined,
  problems: Problem[],
  origins: Map<string, string>,
): () => readonly Rule[] {
  const rules = items.map((item, index) => {
    const reader = new ItemReader(item, `rules[${index}]`, problems, origins);
    return reader.rule(upstreams);
  });
  return () => rules;
}

/** Remarks on rules that can never match. */
export function ruleWarnings(rules: readonly Rule[]): Warning[] {
  return shadowedRules(rules).map(({ index, by }) => {
    const { where, ...rule } = rules[index]!;
    const [first, ...more] = by.map((each) => rules[each]!);
    const others = more.length === 0 ? '' : ` and ${more.length} more`;
    const why =
      first === undefined
        ? 'link-local and metadata addresses are decided on before all rules'
        : `all that it asks for goes to ${first.where} (${ruleText(first)})${others}, which comes first`;
    return {
      where: `${where} rules[${index}]`,
      message: `"${ruleText({ ...rule, where })}" can never match: ${why}`,
    };
  });
}

class ItemReader {
  readonly #item: FileItem;
  readonly #path: string;
  readonly #problems: Problem[];
  readonly #origins: Map<string, string>;

  constructor(item: FileItem, path: string, problems: Problem[], origins: Map<string, string>) {
    this.#item = item;
    this.#path = path;
    this.#problems = problems;
    this.#origins = origins;
  }

  rule(upstreams: readonly string[] | undefined): Rule {
    const { where, given } = this.#item;
    const [protocol] = this.#list('rules[].protocol');
    const [via] = this.#list('rules[].via');
    if (!given.has('rules[].via')) {
      const { kind } = setting('rules[].via');
      this.#wrong(where, `via is missing; allowed: ${kind.allowed}`, 'Say what becomes of such a flow.');
    }
    const [resolve] = this.#list('rules[].resolve');
    if (resolve === 'fake') this.#checkFake(via);
    if (protocol === 'icmp') this.#checkPings();
    if (via !== undefined && upstreams !== undefined) this.#checkVia(via, protocol, upstreams);
    return {
      to: this.#list('rules[].to'),
      ports: this.#list('rules[].ports'),
      // What carries datagrams asks for UDP, unless pings are meant.
      protocol: via?.kind === 'relay' ? (protocol ?? 'udp') : protocol,
      names: this.#list('rules[].names'),
      uid: this.#list('rules[].uid'),
      gid: this.#list('rules[].gid'),
      process: this.#list('rules[].process'),
      container: this.#list('rules[].container'),
      cgroup: this.#list('rules[].cgroup'),
      via: via ?? { kind: 'drop' },
      resolve,
      where: /^(.+:\d+):\d+ \S+$/.exec(where)?.[1] ?? where,
    };
  }

  #list<I extends RuleId>(id: I): RuleSettingValues[I][] {
    const given = this.#item.given.get(id);
    if (given === undefined) return [];
    this.#origins.set(`${this.#path}.${keyOf(id)}`, originOf(given[0]));
    if (given.length === 0) {
      this.#wrong(
        `${this.#item.where}.${keyOf(id)}`,
        'the list is empty, which no flow could match',
        'Name something, or leave the key out to match all.',
      );
    }
    return given.flatMap((each) => {
      const value = readValue<RuleSettingValues[I]>(setting(id), each, this.#problems);
      return value === undefined ? [] : [value];
    });
  }

  /** A fake address means something to a bastion only, which is given the name. */
  #checkFake(via: Rule['via'] | undefined): void {
    const where = this.#item.given.get('rules[].resolve')?.[0]?.where ?? this.#item.where;
    if (!this.#item.given.has('rules[].names'))
      this.#wrong(where, 'found fake in a rule without names', 'Say which names it means.');
    if (via !== undefined && via.kind !== 'upstream')
      this.#wrong(
        where,
        'found fake in a rule that leads to no bastion',
        'Name a bastion or group in "via".',
      );
  }

  /** Such a rule could never match. */
  #checkPings(): void {
    for (const id of PINGS_LACK) {
      const given = this.#item.given.get(id);
      if (given === undefined) continue;
      const what = id === 'rules[].ports' ? 'pings have no ports' : 'nobody knows who pings';
      this.#wrong(
        given[0]?.where ?? this.#item.where,
        `found ${keyOf(id)} with protocol icmp; ${what}`,
        'Leave one of the two out.',
      );
    }
  }

  #checkVia(via: Rule['via'], protocol: Rule['protocol'], upstreams: readonly string[]): void {
    const where = this.#item.given.get('rules[].via')?.[0]?.where ?? this.#item.where;
    if (via.kind === 'relay' && protocol === 'tcp') {
      this.#wrong(
        where,
        'found relay with protocol tcp; a relay carries UDP and pings only',
        'Name a bastion instead.',
      );
    }
    const name = via.kind === 'upstream' || via.kind === 'relay' ? via.upstream : undefined;
    if (name === undefined || upstreams.includes(name)) return;
    const near = suggest(name, [...upstreams, ...VIA_WORDS]);
    this.#wrong(
      where,
      `found "${name}", which is no bastion or group; allowed: ${[...upstreams, ...VIA_WORDS].join(', ')}`,
      near === undefined ? 'Name one of them.' : `Did you mean ${near}?`,
    );
  }

  #wrong(where: string, message: string, hint: string): void {
    this.#problems.push({ code: 'CONFIG_INVALID', where, message, hint });
  }
}

/** Conditions of which a ping knows nothing. */
const PINGS_LACK = [
  ...(['rules[].ports', 'rules[].uid', 'rules[].gid', 'rules[].process'] as const),
  ...(['rules[].container', 'rules[].cgroup'] as const),
];

const keyOf = (id: RuleId): string => id.slice('rules[].'.length);
