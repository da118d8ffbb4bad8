/** The commands about containers, as the help, completion and the parser know them. */
import { RUN_FLAGS } from '../config/settings.ts';
import type { SettingId } from '../config/settings.ts';
import type { CommandInfo } from './command-info.ts';

export type ContainerCommand = 'attach' | 'reattach';

/** What a process has once cannot be had for each container; and "watch" is a word of its own there. */
const OF_THE_PROCESS: readonly SettingId[] = [
  'watch',
  'control.socket',
  'control.listen',
  'control.tokenFile',
  'user',
  'seccomp',
];
const attachFlags: readonly SettingId[] = RUN_FLAGS.filter((id) => !OF_THE_PROCESS.includes(id));

export const CONTAINER_COMMANDS: Readonly<Record<ContainerCommand, CommandInfo>> = {
  attach: {
    summary: 'forward the traffic of running containers, from outside',
    operands: '[CONTAINER]',
    free: true,
    settings: attachFlags,
    switches: [
      ['watch', 'All containers with the label netproxy.enable=true, as they start, stop and are restarted.'],
    ],
    json: false,
    about:
      'Enters the container\'s network namespace, takes it over as "run" does and connects to the bastion from ' +
      'here, so that the container needs neither a key nor a capability. At SIGTERM and SIGINT the container gets ' +
      'its own way out back, unless "onExit" is given. Labels of the container win over every other setting ' +
      '(docs/docker-attach.md). Needs root on the machine of the engine; DOCKER_HOST says where that listens.',
    examples: [
      'netproxy attach web --bastion ssh://deploy@bastion.example --identity key --known-hosts known_hosts',
      'netproxy attach --watch -c /etc/netproxy/netproxy.yaml',
    ],
    exits: [
      [0, 'ended in order after SIGTERM'],
      [130, 'ended in order after SIGINT'],
    ],
  },
  reattach: {
    summary: 'repair containers whose network was that of a container that was restarted or recreated',
    operands: '[PROVIDER]',
    free: true,
    settings: [],
    switches: [['dry-run', 'Change nothing, and print what would be done.']],
    json: true,
    about:
      'A container with "network_mode: service:X" is left without a network when X is started again, and cannot ' +
      'even be restarted when X is recreated. The first kind is restarted; the second is made anew as it was, with ' +
      'the network of what took the place of X, and keeps its name, volumes, environment and labels. Where it ' +
      'cannot be told what that is, PROVIDER names it.',
    examples: [
      'netproxy reattach --dry-run',
      'netproxy reattach',
      'netproxy reattach project-netproxy-1 --json',
    ],
    exits: [
      [0, 'everything is as it should be now, or would be (--dry-run)'],
      [1, 'something was not repaired; what, and what to do, was printed'],
    ],
  },
};
