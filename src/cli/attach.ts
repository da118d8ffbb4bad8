import type { Config } from '../config/config.ts';
import type { Environment } from '../config/environment.ts';
import { describeConfig } from '../config/describe.ts';
import type { Described } from '../config/describe.ts';
import { readLabels, withLastResort } from '../config/labels.ts';
import { loadConfig, placed } from '../config/load.ts';
import type { Loaded, Sources } from '../config/load.ts';
import type { ConfigSource } from '../control/reload.ts';
import { NetproxyError, ProblemsError } from '../core/errors.ts';
import type { Arguments } from './arguments.ts';
import type { Commands, Io, LabelledSettings } from './commands.ts';
import { STOP_SIGNALS } from './run.ts';

/** Which containers: the one that is named, or undefined for those with a label. Throws USAGE_INVALID. */
export function attachedContainer({ operands, switches }: Arguments): string | undefined {
  const [container] = operands;
  if ((container === undefined) !== switches.has('watch')) {
    throw new NetproxyError(
      'USAGE_INVALID',
      container === undefined
        ? 'neither a container nor --watch was given'
        : 'found both a container and --watch',
      {
        hint: 'Run "netproxy attach CONTAINER" for one container, or "netproxy attach --watch" for all with a label.',
      },
    );
  }
  return container;
}

/** `netproxy attach`: until a signal ends it; gives the exit code that fits the signal. */
export async function attach(
  container: string | undefined,
  input: { readonly sources: Sources; readonly environment: Environment },
  commands: Commands,
  io: Io,
): Promise<number> {
  const tell = (line: string): void => io.print(`${line.replaceAll('\n', ' ')}\n`);
  const settings: LabelledSettings = (labels, name) => labelledSettings(input.sources, labels, name, io);
  await commands.attach({ container, environment: input.environment, settings }, io, tell);
  const signal: unknown = io.stop.reason;
  return signal === 'SIGINT' ? STOP_SIGNALS.SIGINT : STOP_SIGNALS.SIGTERM;
}

/** The settings of one container: those of the command, with its labels before all others. */
async function labelledSettings(
  sources: Sources,
  labels: Readonly<Record<string, string>>,
  name: string,
  io: Pick<Io, 'log'>,
): Promise<{ config: Config; source: ConfigSource; isDefault: (key: string) => boolean }> {
  const read = readLabels(labels, name);
  const files = new Set<string>();
  let full: Loaded<Config>;
  const load = async (): Promise<Config> => {
    files.clear();
    full = await loadConfig({
      ...sources,
      flags: new Map([...sources.flags, ...read.flags]),
      problems: [...(sources.problems ?? []), ...read.problems],
      onFile: (path) => void files.add(path),
    });
    for (const { where, message } of full.warnings) io.log.warn({ container: name }, `${where}: ${message}`);
    const chosen = withLastResort(full.config, read.lastResort);
    if ('code' in chosen) throw new ProblemsError([chosen]);
    return chosen;
  };
  const config = await load();
  const isDefault = (key: string): boolean => (full.origins.get(key) ?? 'default') === 'default';
  const place = ({ problems }: ProblemsError): ProblemsError =>
    new ProblemsError(problems.map((problem) => placed(problem, full.origins)));
  const describe = (): readonly Described[] => describeConfig(full);
  return { config, source: { files, read: load, place, describe }, isDefault };
}
