/** Of the table of settings, what concerns the process and its log. */
import type { UserChoice } from '../core/user.ts';
import type { LogConfig } from './config.ts';
import * as kind from './kind.ts';
import type { Setting } from './settings.ts';

/** As in `SettingValues`. */
export interface ProcessSettingValues {
  user: UserChoice;
  seccomp: 'on' | 'off';
  'log.level': LogConfig['level'];
  'log.format': LogConfig['format'];
  'log.flows': LogConfig['flows'];
}

type Rows = { readonly [I in keyof ProcessSettingValues]: Setting<ProcessSettingValues[I]> };

export const processRows: Rows = {
  user: {
    key: 'user',
    flag: 'user',
    env: 'NETPROXY_USER',
    kind: kind.processUser,
    default: 'auto',
    group: 'Process',
    description:
      'Who netproxy becomes once the namespace is taken over; "auto" is 65534 when it was started as root, uses no SSH agent, and every file stays readable; otherwise, and with "keep", it stays who it is.',
  },
  seccomp: {
    key: 'seccomp',
    flag: 'seccomp',
    env: 'NETPROXY_SECCOMP',
    kind: kind.oneOf('on', 'off'),
    default: 'on',
    group: 'Process',
    description:
      'Whether system calls that netproxy never needs fail from then on, in it and in what it starts.',
  },
  'log.level': {
    key: 'log.level',
    flag: 'log-level',
    env: 'NETPROXY_LOG_LEVEL',
    kind: kind.oneOf('debug', 'info', 'warn', 'error'),
    default: 'info',
    group: 'Logging',
    description: 'Least severe level that is logged.',
  },
  'log.format': {
    key: 'log.format',
    flag: 'log-format',
    env: 'NETPROXY_LOG_FORMAT',
    kind: kind.oneOf('auto', 'human', 'json'),
    default: 'auto',
    group: 'Logging',
    description:
      'Form of the log on stderr; "auto" is "human" on a terminal and "json" elsewhere. "json" holds for errors too.',
  },
  'log.flows': {
    key: 'log.flows',
    flag: 'log-flows',
    env: 'NETPROXY_LOG_FLOWS',
    kind: kind.oneOf('all', 'failed', 'none'),
    default: 'failed',
    group: 'Logging',
    description:
      'Which flows have a line in the log at the level "info" when they are over; "failed" are connects that were rejected or dropped. The others have one at "debug"; "netproxy logs" shows all.',
  },
};
