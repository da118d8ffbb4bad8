/** Of the commands, those that run a command of the user's in a network namespace of its own. */
import type { SettingId } from '../config/settings.ts';
import { RUN_FLAGS } from '../config/settings.ts';
import { EXIT_EGRESS, EXIT_MISSING, EXIT_UNUSABLE } from '../core/errors.ts';
import type { CommandInfo, Parameter } from './command-info.ts';

export type JobCommand = 'exec' | 'record';

/**
 * What is about a namespace that others use, or about a process that stays, and why it counts for nothing here. A
 * configuration is shared with `run`, so there it is told and not refused.
 */
export const SET_ASIDE: Readonly<Partial<Record<SettingId, string>>> = {
  local: 'no network is local to a namespace that has nothing but the TUN',
  captured: 'no network is local to a namespace that has nothing but the TUN',
  metadata: 'metadata addresses are always rejected',
  layers: 'the namespace has no other way out that a filter would have to close',
  strict: 'the namespace has no other way out that a filter would have to close',
  onExit: 'the namespace ends with the command',
  watch: 'the configuration is read once',
};

const FLAGS: readonly SettingId[] = RUN_FLAGS.filter((id) => !(id in SET_ASIDE));

export const RECORD_FORMATS = ['rules', 'permitopen', 'networkpolicy'] as const;
export type RecordFormat = (typeof RECORD_FORMATS)[number];

const PUBLISH: Parameter = {
  long: 'publish',
  placeholder: '[ADDRESS:]OUT:IN',
  about:
    'Brings the port IN of the command out as OUT, at 127.0.0.1 or the address given; several with commas between.',
};

const EXITS: CommandInfo['exits'] = [
  [EXIT_UNUSABLE, 'the command cannot be run'],
  [EXIT_MISSING, 'there is no such command'],
  [128, 'and more: that much less is the signal that ended the command'],
];

const NO_COUNT = `Of a configuration, ${Object.keys(SET_ASIDE).join(', ')} count for nothing; a warning names each that is set.`;

export const JOB_COMMANDS: Readonly<Record<JobCommand, CommandInfo>> = {
  exec: {
    summary: 'run a command in a network namespace of its own, with a bastion as its only way out',
    operands: '-- COMMAND...',
    rest: true,
    settings: FLAGS,
    parameters: [
      PUBLISH,
      {
        long: 'allow',
        placeholder: 'FILE',
        about:
          'Rules, of which "via" may be left out, that say what the command may connect to. Everything else is refused, and makes the exit code 77.',
      },
      { long: 'report', placeholder: 'FILE', about: 'Writes there, as JSON, what the command connected to.' },
    ],
    json: false,
    about:
      'Waits until a bastion can be used, runs the command, and ends with it and its exit code. Standard input, ' +
      "output, terminal and signals are the command's. Nothing of this machine is changed, and whatever becomes of " +
      'netproxy, the command has no other way out. Needs /dev/net/tun, and root or user namespaces. Only warnings and ' +
      `errors are logged, unless --log-level says otherwise. ${NO_COUNT}`,
    examples: [
      'netproxy exec --bastion ssh://deploy@bastion.example --identity key --known-hosts known_hosts -- npm test',
      'netproxy exec -c netproxy.yaml --allow egress.yaml --report egress.json -- make deploy',
      'netproxy exec -c netproxy.yaml --publish 8080:80 -- nginx -g "daemon off;"',
    ],
    exits: [[EXIT_EGRESS, 'the command tried to connect to what --allow does not allow'], ...EXITS],
  },
  record: {
    summary: 'run a command as "exec" does, and write down what it connects to',
    operands: '-- COMMAND...',
    rest: true,
    settings: FLAGS,
    parameters: [
      {
        long: 'format',
        placeholder: 'FORMAT',
        words: RECORD_FORMATS,
        about:
          'rules (the default) for a configuration or --allow; permitopen for sshd_config on the bastion; networkpolicy for Kubernetes.',
      },
      {
        long: 'output',
        placeholder: 'FILE',
        about: 'Where to write; by default standard output, when the command has ended.',
      },
      PUBLISH,
    ],
    json: false,
    about:
      'Nothing is refused that the configuration does not refuse. Look at what is written before you use it: it is ' +
      `what was connected to this time. ${NO_COUNT}`,
    examples: [
      'netproxy record -c netproxy.yaml --output egress.yaml -- npm test',
      'netproxy record -c netproxy.yaml --format permitopen -- ./deploy.sh',
    ],
    exits: EXITS,
  },
};
