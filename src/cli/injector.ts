import type { Environment } from '../config/environment.ts';
import { loadInjectorConfig } from '../config/injector.ts';
import type { InjectorConfig } from '../config/injector.ts';
import type { Log } from '../core/log.ts';
import { createLogger } from '../core/logger.ts';
import type { Arguments } from './arguments.ts';
import type { Output } from './output.ts';
import { STOP_SIGNALS } from './run.ts';
import { wantsColour } from './style.ts';

/** Answers until `stop`, then until nobody asks any more; `ready` is called once, with the line to print. */
export type RunInjector = (
  config: InjectorConfig,
  io: { readonly log: Log; readonly stop: AbortSignal; readonly version: string },
  ready: (line: string) => void,
) => Promise<void>;

interface InjectorShell {
  readonly environment: Environment;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly version: string;
  loadInjector(): Promise<RunInjector>;
  stopOnSignals(): AbortSignal;
}

/** `netproxy injector`: until a signal ends it; gives the exit code that fits the signal. */
export async function injector(
  args: Arguments,
  shell: InjectorShell,
  loaded: (config: InjectorConfig) => void,
): Promise<number> {
  const { environment, version } = shell;
  const config = loadInjectorConfig({ flags: args.flags, environment, problems: args.problems });
  loaded(config);
  const stop = shell.stopOnSignals();
  const { terminal } = shell.stderr;
  const colour = wantsColour(terminal, environment);
  const [log, run] = await Promise.all([
    createLogger({ ...config.log, terminal, colour }),
    shell.loadInjector(),
  ]);
  await run(config, { log, stop, version }, (line) => shell.stdout.write(`${line}\n`));
  return stop.reason === 'SIGINT' ? STOP_SIGNALS.SIGINT : STOP_SIGNALS.SIGTERM;
}
