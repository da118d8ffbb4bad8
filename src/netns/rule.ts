import type { Family } from '../core/flow.ts';
import type { DesiredRule } from './desired.ts';
import type { Facts } from './facts.ts';
import { PROTOCOL } from './ids.ts';

/** Our rules in a namespace, as `ip rule` prints them. */
export function ownRules(family: Family, facts: Facts): string[] {
  return facts.rules[family].filter((rule) => rule.endsWith(` proto ${PROTOCOL}`));
}

/** A wanted rule as `ip rule` will print it. */
export function printed({ priority, spec }: DesiredRule): string {
  return `${priority}: from all ${spec} proto ${PROTOCOL}`;
}

/** The command that adds a rule. */
export function addRule({ priority, spec }: DesiredRule): string {
  return `rule add pref ${priority} ${spec} protocol ${PROTOCOL}`;
}

/** The command that removes a rule, from the line that `ip rule` prints for it. */
export function deleteRule(rule: string): string {
  const [priority = '', spec = ''] = rule.split(/: (.*)/s);
  return `rule del pref ${priority} ${spec.replace(/ proto (\S+)$/, ' protocol $1')}`;
}
