/** Composition root: joins the parts into the commands. */
import type { Commands } from './cli/commands.ts';
import { NetproxyError } from './core/errors.ts';

function unavailable(): never {
  throw new NetproxyError('INTERNAL', 'the parts are not joined in this build');
}

export const commands: Commands = {
  run: async () => unavailable(),
  check: async () => [],
  plan: async () => unavailable(),
  release: async () => unavailable(),
};
