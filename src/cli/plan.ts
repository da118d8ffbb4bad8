import type { HostConfig } from '../config/config.ts';
import type { Commands, Io } from './commands.ts';

/** `netproxy plan`: prints what `run` would change. */
export async function plan(config: HostConfig, commands: Commands, io: Io): Promise<void> {
  await commands.plan(config, io);
}
