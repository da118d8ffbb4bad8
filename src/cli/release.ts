import type { HostConfig } from '../config/config.ts';
import type { Commands, Io } from './commands.ts';

/** `netproxy release`: puts the host back. */
export async function release(config: HostConfig, commands: Commands, io: Io): Promise<void> {
  await commands.release(config, io);
}
