import type { Config } from '../config/config.ts';
import type { ConfigSource } from '../control/reload.ts';
import type { Commands, Io } from './commands.ts';

/** Signals that end `run` in order, and the exit code then. A container engine's SIGTERM is no failure. */
export const STOP_SIGNALS = { SIGTERM: 0, SIGINT: 130 } as const;

/** `netproxy run`: one line on stdout when ready, and the exit code that fits the signal that ended it. */
export async function run(config: Config, commands: Commands, io: Io, source: ConfigSource): Promise<number> {
  let ready = false;
  const tell = (line: string): void => {
    if (!ready) io.print(`${line.replaceAll('\n', ' ')}\n`);
    ready = true;
  };
  await commands.run(config, io, tell, source);
  const signal: unknown = io.stop.reason;
  return signal === 'SIGINT' ? STOP_SIGNALS.SIGINT : STOP_SIGNALS.SIGTERM;
}
