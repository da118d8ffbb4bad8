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

/** `ip` looks names of protocols up in /etc/protocols, which slim images do not have. */
function numbered(spec: string): string {
  return spec.replace(/\bipproto tcp\b/, 'ipproto 6').replace(/\bipproto udp\b/, 'ipproto 17');
}

/** The command that adds a rule. */
export function addRule({ priority, spec }: DesiredRule): string {
  return `rule add pref ${priority} ${numbered(spec)} protocol ${PROTOCOL}`;
}

/** The command that removes a rule, from the line that `ip rule` prints for it. */
export function deleteRule(rule: string): string {
  const [priority = '', spec = ''] = rule.split(/: (.*)/s);
  return `rule del pref ${priority} ${numbered(spec).replace(/ proto (\S+)$/, ' protocol $1')}`;
}
