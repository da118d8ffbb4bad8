/** The commands: what the help, completion and the parser know of each. */
import { RUN_FLAGS, SETTINGS } from '../config/settings.ts';
import type { SettingId } from '../config/settings.ts';
import type { CommandInfo } from './command-info.ts';
import { CONTAINER_COMMANDS } from './container-commands.ts';
import { INJECTOR_COMMAND } from './injector-command.ts';
import { JOB_COMMANDS } from './job-commands.ts';
import { OPERATOR_COMMANDS } from './operator-commands.ts';

export type { CommandInfo, Parameter } from './command-info.ts';

/** In the order of the help. */
export const COMMAND_NAMES = [
  'run',
  'exec',
  'record',
  'check',
  'explain',
  'doctor',
  'plan',
  'release',
  'keyscan',
  'status',
  'wait',
  'connections',
  'attach',
  'reattach',
  'injector',
  'top',
  'logs',
  'debug',
  'help',
  'completion',
  'man',
] as const;

export type CommandName = (typeof COMMAND_NAMES)[number];

const hostFlags: readonly SettingId[] = RUN_FLAGS.filter((id) => SETTINGS.get(id)?.group !== 'Bastion');

const ROUTING: readonly SettingId[] = ['config', 'bastion', 'rule'];

/** Shells that completion is generated for. */
export const SHELLS: readonly string[] = ['bash', 'zsh', 'fish'];

export const COMMANDS: Readonly<Record<CommandName, CommandInfo>> = {
  run: {
    summary: 'forward the traffic of this network namespace through a bastion',
    operands: '',
    settings: RUN_FLAGS,
    json: false,
    about:
      'Takes over the default route of the network namespace it is started in and forwards every TCP ' +
      'connection through SSH. Needs NET_ADMIN and /dev/net/tun. Prints one line on stdout when ready; ' +
      'logs go to stderr. SIGTERM and SIGINT let open connections finish for a few seconds; a second ' +
      'signal ends it at once.',
    examples: [
      'netproxy run --bastion ssh://deploy@bastion.example --identity /run/secrets/key --known-hosts /run/secrets/known_hosts',
      'netproxy run -c /etc/netproxy/netproxy.yaml --log-level debug',
    ],
    exits: [
      [0, 'ended in order after SIGTERM'],
      [130, 'ended in order after SIGINT'],
      [143, 'ended at once by a second signal, SIGTERM (130 when it was SIGINT)'],
    ],
  },
  ...JOB_COMMANDS,
  check: {
    summary: 'validate the configuration and print what is in effect',
    operands: '',
    settings: RUN_FLAGS,
    json: true,
    about:
      'Reads everything that "run" reads, keys, certificates and known_hosts too, and prints each setting ' +
      'with where its value came from; secrets are masked. Starts nothing and touches no network.',
    examples: [
      'netproxy check -c netproxy.yaml',
      'NETPROXY_BASTION=ssh://deploy@bastion.example netproxy check --json',
    ],
    exits: [[0, 'the configuration is valid']],
  },
  explain: {
    summary: 'say which rule decides on a connection, and why',
    operands: 'HOST[:PORT]',
    free: true,
    settings: ROUTING,
    parameters: [
      {
        long: 'proto',
        placeholder: 'tcp|udp|icmp',
        words: ['tcp', 'udp', 'icmp'],
        about: 'Protocol; tcp unless given. icmp are pings, for which HOST stands alone.',
      },
      { long: 'address', placeholder: 'ADDRESS', about: 'Address of HOST, when that is a name.' },
      { long: 'name', placeholder: 'NAME', about: 'Name that was asked for, when HOST is an address.' },
      { long: 'uid', placeholder: 'NUMBER', about: 'User that opens it.' },
      { long: 'gid', placeholder: 'NUMBER', about: 'Group that opens it.' },
      { long: 'process', placeholder: 'NAME', about: 'Process that opens it.' },
      { long: 'container', placeholder: 'ID', about: 'Container that opens it.' },
      { long: 'cgroup', placeholder: 'PATH', about: 'Control group that opens it.' },
    ],
    json: true,
    about:
      'Goes through the rules of the configuration as for a new connection, and prints the one that decides with its ' +
      'place, what comes of it, and why the rules before it do not match. What is not told of the connection is ' +
      'unknown: rules that ask for it are listed as possible. Reads no key and asks no resolver.',
    examples: [
      'netproxy explain -c netproxy.yaml 10.20.0.5:5432',
      'netproxy explain -c netproxy.yaml db.corp.example:443 --address 10.20.0.5 --uid 1000 --json',
      'netproxy explain -c netproxy.yaml 10.20.0.5 --proto icmp',
    ],
    exits: [[0, 'the answer was printed']],
  },
  doctor: {
    summary: 'look at everything that "run" depends on, and say what mends it',
    operands: '',
    settings: RUN_FLAGS,
    switches: [['offline', 'Connect to no bastion.']],
    json: true,
    about:
      'Examines the container, its network namespace, the configuration with its files and, with a ' +
      'configuration, each bastion: logs in to it and opens one channel. Every line that is not "ok" comes with ' +
      'what mends it, for Compose, Kubernetes and docker run. Changes nothing, and may run beside "run".',
    examples: ['netproxy doctor', 'netproxy doctor -c /etc/netproxy/netproxy.yaml --json'],
    exits: [
      [0, 'nothing keeps netproxy from working; there may be warnings'],
      [1, 'something does'],
    ],
  },
  plan: {
    summary: 'print the changes that "run" would make to this network namespace',
    operands: '',
    settings: hostFlags,
    json: true,
    about: 'Compares the routes and rules of this network namespace with those wanted. Changes nothing.',
    examples: ['netproxy plan', 'netproxy plan --local 10.0.0.0/8 --json'],
    exits: [[0, 'the plan was printed']],
  },
  release: {
    summary: 'put the routes of this network namespace back as they were',
    operands: '',
    settings: hostFlags,
    json: true,
    about:
      'Removes what netproxy changed, also after it was killed, and so opens the direct way out again. ' +
      'Safe to repeat. Not for use while "run" is running.',
    examples: ['netproxy release'],
    exits: [[0, 'nothing of netproxy is left']],
  },
  keyscan: {
    summary: 'print the host keys that servers show, as configuration to be checked',
    operands: 'HOST[:PORT]...',
    many: true,
    settings: ['handshakeTimeout'],
    json: true,
    about:
      'Connects to each server, without logging in, and prints its host keys as "hostKeys" of a configuration ' +
      'file, with their fingerprints and as lines of known_hosts. That proves nothing by itself: whoever is on ' +
      'the way can show keys of his own, so compare the fingerprints with those on the server. Reads and ' +
      'writes no configuration.',
    examples: [
      'netproxy keyscan bastion.example',
      'netproxy keyscan bastion.example:2222 [2001:db8::7]:22 --json',
    ],
    exits: [
      [0, 'every server has shown its keys'],
      [1, 'one of the servers did not answer; the keys of the others were printed'],
    ],
  },
  ...OPERATOR_COMMANDS,
  ...CONTAINER_COMMANDS,
  injector: INJECTOR_COMMAND,
  help: {
    summary: 'explain a command',
    operands: '[COMMAND]',
    words: COMMAND_NAMES,
    settings: [],
    json: false,
    about: 'Explains a command, or lists the commands.',
    examples: ['netproxy help run'],
    exits: [],
  },
  man: {
    summary: 'print the manual page',
    operands: '',
    settings: [],
    json: false,
    about: 'Prints netproxy(1) for man, with all commands and settings.',
    examples: ['netproxy man > /usr/local/share/man/man1/netproxy.1', 'netproxy man | man -l -'],
    exits: [],
  },
  completion: {
    summary: 'print a completion script for a shell',
    operands: 'SHELL',
    words: SHELLS,
    settings: [],
    json: false,
    about: `Prints a script that completes commands, flags and values in ${SHELLS.join(', ')}.`,
    examples: [
      'source <(netproxy completion bash)',
      'netproxy completion fish > ~/.config/fish/completions/netproxy.fish',
    ],
    exits: [],
  },
};
