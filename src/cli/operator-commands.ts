/** The commands that ask a running netproxy, as the help, completion and the parser know them. */
import { SORT_KEYS } from '../control/connections.ts';
import type { CommandInfo, Parameter } from './command-info.ts';

const SORT: Parameter = {
  long: 'sort',
  placeholder: 'KEY',
  words: Object.keys(SORT_KEYS),
  about: 'What comes first: numbers with the largest first, words in their order. Default: age.',
};

export type OperatorCommand = 'status' | 'wait' | 'connections' | 'top' | 'logs' | 'debug';

export const OPERATOR_COMMANDS: Readonly<Record<OperatorCommand, CommandInfo>> = {
  status: {
    summary: 'show what the netproxy of this network namespace is doing',
    operands: '',
    settings: ['control.socket'],
    switches: [
      [
        'docker',
        'Ask the container engine instead: which containers are attached or share a network, and whether its namespace lives.',
      ],
    ],
    json: true,
    about:
      'Asks the running netproxy by its control socket: whether it is ready and if not why, its bastions, how many ' +
      'connections it carries, and how many packets were kept from leaving.',
    examples: ['netproxy status', 'docker exec netproxy netproxy status --json', 'netproxy status --docker'],
    exits: [[0, 'it answered']],
  },
  wait: {
    summary: 'wait until the netproxy of this network namespace is ready',
    operands: '[DURATION]',
    free: true,
    settings: ['control.socket'],
    json: true,
    about:
      'Returns when the namespace is taken over, a bastion is connected and has opened a channel; fails after ' +
      'DURATION (60s) with the condition that does not hold. netproxy need not have been started yet.',
    examples: ['netproxy wait', 'netproxy wait 10s && npm test'],
    exits: [[0, 'netproxy is ready']],
  },
  connections: {
    summary: 'list the connections under way, or end one',
    operands: '',
    settings: ['control.socket'],
    parameters: [
      SORT,
      { long: 'limit', placeholder: 'COUNT', about: 'Lines at most. Default: 1000.' },
      {
        long: 'kill',
        placeholder: 'ID',
        about: 'End the connection with this id; the application sees a reset.',
      },
    ],
    switches: [['watch', 'List them anew every second, until a signal.']],
    json: true,
    about:
      'Lists each connection with its owner, target, name, rule, bastion, age and bytes from (out) and to (in) the ' +
      'application. Questions to resolvers are not among them. With --watch and --json, one line each second.',
    examples: [
      'netproxy connections --sort bytes',
      'netproxy connections --watch',
      'netproxy connections --kill 17',
    ],
    exits: [[0, 'they were listed, or the one was ended']],
  },
  top: {
    summary: 'show connections, their rates and the bastions on the whole terminal',
    operands: '',
    settings: ['control.socket'],
    json: false,
    about:
      'Looks every second. Keys: q quits; s sorts by rate, bytes, age, target, bastion or owner, r reverses that; the ' +
      'arrows (or j and k) and the page keys select a connection, and x, then y, ends it; p pauses. Ctrl-Z gives the terminal to the shell, until fg.',
    examples: ['netproxy top', 'docker exec -it netproxy netproxy top'],
    exits: [[0, 'it was quit']],
  },
  logs: {
    summary: 'print the last lines of the log of a running netproxy',
    operands: '',
    settings: ['control.socket'],
    switches: [['follow', 'Go on with further lines as they come, until a signal.']],
    json: true,
    about:
      'Prints what a running netproxy keeps of its log, at most 2000 lines, wherever the log itself goes; in it are the ' +
      'lines of all flows that are over, also of those that its log does not have (log.flows).',
    examples: ['netproxy logs', 'netproxy logs --follow --json'],
    exits: [[0, 'they were printed']],
  },
  debug: {
    summary: 'collect what is needed to find out what is wrong, without secrets',
    operands: 'bundle',
    words: ['bundle'],
    settings: ['control.socket'],
    parameters: [
      {
        long: 'out',
        placeholder: 'FILE',
        about: 'Where to write it; "-" is standard output. Default: a name with the time.',
      },
    ],
    json: true,
    about:
      'Writes an archive (tar, gzip) with version, status, settings in effect, connections, metrics, the last lines of the ' +
      'log, what the doctor says, and addresses, routes and filter of the network namespace. Keys, passwords and tokens ' +
      'are not in it; addresses and names that applications connected to are. netproxy need not be running.',
    examples: ['netproxy debug bundle', 'docker exec netproxy netproxy debug bundle --out - > bundle.tar.gz'],
    exits: [[0, 'it was written']],
  },
};
