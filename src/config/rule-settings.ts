/** Of the table of settings, what concerns rules. */
import type { FlowTuple } from '../core/flow.ts';
import type { PortRange, Via } from '../policy/rule.ts';
import { oneOf } from './kind.ts';
import * as kind from './rule-kind.ts';
import type { Setting } from './settings.ts';

/** As in `SettingValues`. */
export interface RuleSettingValues {
  rule: string;
  'rules[].to': string;
  'rules[].ports': PortRange;
  'rules[].protocol': FlowTuple['protocol'];
  'rules[].names': string;
  'rules[].uid': number;
  'rules[].gid': number;
  'rules[].process': string;
  'rules[].container': string;
  'rules[].cgroup': string;
  'rules[].via': Via;
  'rules[].resolve': 'real' | 'fake';
}

type Rows = { readonly [I in keyof RuleSettingValues]: Setting<RuleSettingValues[I]> };

const condition = <T>(key: string, of: Setting<T>['kind'], description: string): Setting<T> => ({
  key: `rules[].${key}`,
  kind: of,
  list: true,
  one: true,
  group: 'Rules',
  description,
});

export const ruleRows: Rows = {
  rule: {
    flag: 'rule',
    env: 'NETPROXY_RULES',
    kind: kind.ruleText,
    list: true,
    whole: true,
    group: 'Rules',
    description:
      'A rule as the file has it, without the braces if one likes; in the environment the whole list. They take the place of all rules in the file.',
  },
  'rules[].to': condition('to', kind.cidr, 'Networks and addresses that the flow goes to, any of them.'),
  'rules[].ports': condition('ports', kind.ports, 'Ports that the flow goes to, any of them.'),
  'rules[].protocol': {
    key: 'rules[].protocol',
    kind: kind.protocol,
    group: 'Rules',
    description:
      'Protocol of the flow; unset, any. "icmp" are pings, which have no ports, and of which nobody knows who sent them.',
  },
  'rules[].names': condition(
    'names',
    kind.namePattern,
    'Names that the application asked for to have the address that the flow goes to; "*.x" is every name below x.',
  ),
  'rules[].uid': condition('uid', kind.id, 'Users that opened the flow.'),
  'rules[].gid': condition(
    'gid',
    kind.id,
    'Groups that opened the flow; the process must be visible in /proc.',
  ),
  'rules[].process': condition(
    'process',
    kind.processName,
    'Names of the process, or of its executable; the process must be visible in /proc.',
  ),
  'rules[].container': condition(
    'container',
    kind.containerId,
    'Containers that opened the flow, by the beginning of their numbers.',
  ),
  'rules[].cgroup': condition(
    'cgroup',
    kind.cgroupPath,
    'Control groups that opened the flow, or that are above the one that did.',
  ),
  'rules[].via': {
    key: 'rules[].via',
    kind: kind.via,
    required: true,
    group: 'Rules',
    description: 'What becomes of a flow of which all conditions of the rule hold.',
  },
  'rules[].resolve': {
    key: 'rules[].resolve',
    kind: oneOf('real', 'fake'),
    group: 'Rules',
    description:
      'How the names of the rule are looked up; "fake" is for those that only the bastion itself can: the application gets an address that stands for the name, and the bastion the name.',
  },
};
