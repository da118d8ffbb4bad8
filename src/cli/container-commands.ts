/** The commands about containers, as the help, completion and the parser know them. */
import type { CommandInfo } from './command-info.ts';

export type ContainerCommand = 'reattach';

export const CONTAINER_COMMANDS: Readonly<Record<ContainerCommand, CommandInfo>> = {
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
