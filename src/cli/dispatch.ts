/**
 * From the arguments to an exit code: reads the settings, does the command, tells errors. What only some commands need
 * is loaded by them: each module takes a millisecond, and somebody waits for the command of `exec`.
 */
import type { Environment } from '../config/environment.ts';
import { loadConfig, loadHostConfig, loadRouting, placed } from '../config/load.ts';
import type { JudgedBastion, Loaded } from '../config/load.ts';
import { loadAllowList } from '../config/allow.ts';
import type { Config, HostConfig, LogConfig } from '../config/config.ts';
import type { RunInjector } from './injector.ts';
import { describeConfig } from '../config/describe.ts';
import { setting } from '../config/settings.ts';
import { NetproxyError, ProblemsError } from '../core/errors.ts';
import { createLogger } from '../core/logger.ts';
import { RecentLines } from '../core/recent-lines.ts';
import { parseArguments } from './arguments.ts';
import type { Arguments } from './arguments.ts';
import type { CommandName } from './catalogue.ts';
import type { Commands, Io } from './commands.ts';
import { OPERATOR_COMMANDS } from './operator-commands.ts';
import type { OperatorCommand } from './operator-commands.ts';
import { report } from './report.ts';
import { run } from './run.ts';
import type { Output } from './output.ts';
import { paint, wantsColour } from './style.ts';
import type { Paint } from './style.ts';

/** The process, as far as the command line needs it. */
export interface Shell {
  readonly argv: readonly string[];
  readonly environment: Environment;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly version: string;
  /** Loaded only by commands that need the parts: the help must not wait for SSH. */
  loadCommands(): Promise<Commands>;
  /** Loaded by that command alone, which has no use for the other parts. */
  loadInjector(): Promise<RunInjector>;
  /** What to do, before the process ends, with an exception that nobody caught; gives the exit code. */
  onUncaught(tell: (error: unknown) => number): void;
  /** Begins to listen for the signals that end a command. */
  stopOnSignals(): AbortSignal;
}

/** What errors are told by. */
type EarlyLog = Pick<LogConfig, 'level' | 'format'>;

/** Does what the command line says and gives the exit code of the process. Never throws. */
export async function dispatch(shell: Shell): Promise<number> {
  const args = parseArguments(shell.argv);
  let log: EarlyLog | undefined;
  const tell = (error: unknown): number => {
    const effective = log ?? earlyLog(shell, args);
    const { text, exitCode } = report(error, {
      // Not for "auto": whoever reads the last words of a container is mostly a person.
      json: args.json || effective.format === 'json',
      debug: effective.level === 'debug',
      paint: paint(wantsColour(shell.stderr.terminal, shell.environment)),
    });
    shell.stderr.write(text);
    return exitCode;
  };
  shell.onUncaught(tell);
  try {
    return await perform(shell, args, (config) => {
      log = config.log;
    });
  } catch (error) {
    return tell(error);
  }
}

async function perform(
  shell: Shell,
  args: Arguments,
  loaded: (config: { readonly log: EarlyLog }) => void,
): Promise<number> {
  const colour = paint(wantsColour(shell.stdout.terminal, shell.environment));
  const { command } = args;
  if (args.version) return print(shell, `netproxy ${shell.version}\n`);
  // Who asks for help gets it, whatever else is on the line, unless the command itself is unknown.
  if (args.help && (command !== undefined || args.problems.length === 0))
    return print(shell, await help(command, colour));
  if (command === undefined && args.problems.length === 0) {
    throw new NetproxyError('USAGE_INVALID', 'no command was given', {
      hint: 'Run "netproxy help" for the commands; "netproxy run" is the main one.',
    });
  }
  if (
    command === undefined ||
    ((command === 'help' || command === 'completion' || command === 'man') && args.problems.length > 0)
  ) {
    throw new ProblemsError(args.problems);
  }
  if (command === 'help') return print(shell, await help(args.operands[0] as CommandName, colour));
  if (command === 'completion') {
    const { completion } = await import('./completion.ts');
    return print(shell, completion(args.operands[0]));
  }
  if (command === 'man') {
    const { manualPage } = await import('./man.ts');
    return print(shell, manualPage(shell.version, new Date()));
  }
  if (command === 'keyscan') {
    const { keyscan, keyscanInput } = await import('./keyscan.ts');
    const input = keyscanInput(args, shell.environment);
    const print = (text: string): void => shell.stdout.write(text);
    await keyscan(input, await shell.loadCommands(), { json: args.json, print });
    return 0;
  }
  if (command === 'reattach' || (command === 'status' && args.switches.has('docker'))) {
    const io = { print: (text: string): void => shell.stdout.write(text), paint: colour };
    const commands = await shell.loadCommands();
    if (command === 'reattach') {
      const { reattach } = await import('./reattach.ts');
      return reattach(args, shell.environment, commands, io);
    }
    const { dockerStatus } = await import('./docker-status.ts');
    await dockerStatus(args, shell.environment, commands, io);
    return 0;
  }
  if (command in OPERATOR_COMMANDS) {
    const asking = { args, environment: shell.environment, paint: colour, stop: () => shell.stopOnSignals() };
    const { stdout, version } = shell;
    const loadCommands = (): Promise<Commands> => shell.loadCommands();
    const { operate } = await import('./operate.ts');
    return operate(command as OperatorCommand, { ...asking, stdout, version, loadCommands });
  }
  if (command === 'injector') {
    const { injector } = await import('./injector.ts');
    return injector(args, shell, loaded);
  }
  const files = new Set<string>();
  const sources = {
    ...{ flags: args.flags, environment: shell.environment, problems: args.problems },
    judge: async (bastion: JudgedBastion) => (await shell.loadCommands()).judge(bastion),
    onFile: (path: string) => void files.add(path),
  };
  if (command === 'exec' || command === 'record') {
    // Takes longest, and somebody waits; what it fails with is told where it is awaited.
    shell.loadCommands().catch(() => {});
    const { jobInput, setAside } = await import('./job.ts');
    const problems = [...args.problems];
    const input = jobInput(args, problems);
    const full = await loadConfig({ ...sources, problems });
    const quiet = full.origins.get('log.level') === 'default' ? quietly(full) : full;
    loaded(quiet.config);
    const allow = input.allowFile === undefined ? undefined : await loadAllowList(input.allowFile);
    // Signals are the command's.
    const { commands, io } = await prepare(shell, args, quiet, new AbortController().signal);
    warn(io, [...full.warnings, ...setAside(full.origins, command)]);
    const source = {
      ...{ files, read: async () => quiet.config, describe: () => describeConfig(quiet) },
      place: (error: ProblemsError) => located(error, full.origins),
    };
    try {
      return await commands.exec(quiet.config, io, { ...input, allow }, source);
    } catch (error) {
      throw error instanceof ProblemsError ? located(error, full.origins) : error;
    }
  }
  if (command === 'run' || command === 'check') {
    let full = await loadConfig(sources);
    loaded(full.config);
    const { commands, io } = await prepare(shell, args, full);
    try {
      if (command === 'run') {
        warn(io, full.warnings);
        return await run(full.config, commands, io, {
          files,
          read: async () => {
            files.clear();
            const before = new Set(full.warnings.map(remark));
            full = await loadConfig(sources);
            warn(
              io,
              full.warnings.filter((warning) => !before.has(remark(warning))),
            );
            return full.config;
          },
          place: (error) => located(error, full.origins),
          describe: () => describeConfig(full),
        });
      }
      const { check } = await import('./check.ts');
      await check(full, commands, io);
      return 0;
    } catch (error) {
      throw error instanceof ProblemsError ? located(error, full.origins) : error;
    }
  }
  if (command === 'attach') {
    const { attach, attachedContainer } = await import('./attach.ts');
    const container = args.problems.length > 0 ? undefined : attachedContainer(args);
    const host = await loadHostConfig(sources);
    loaded(host.config);
    const { commands, io } = await prepare(shell, args, host);
    return attach(container, { sources, environment: shell.environment }, commands, io);
  }
  if (command === 'explain') {
    const { explainInput, explainText } = await import('./explain.ts');
    const question = explainInput(args);
    const { config } = await loadRouting(sources);
    loaded(config);
    return print(shell, explainText(config, question, { json: args.json, paint: colour }));
  }
  if (command === 'doctor') {
    const { admit, doctor } = await import('./doctor.ts');
    const { host, full, problems } = await admit(args, sources);
    loaded(host.config);
    const { commands, io } = await prepare(shell, args, host);
    // What only the parts can judge.
    const judged = full === undefined ? [] : await commands.check(full.config, io);
    const patient = {
      host: host.config,
      config: full?.config,
      problems: [...problems, ...(full === undefined ? [] : judged.map((one) => placed(one, full.origins)))],
      files: [...files],
      offline: args.switches.has('offline'),
    };
    return doctor(patient, commands, io, colour);
  }
  const host = await loadHostConfig(sources);
  loaded(host.config);
  const { commands, io } = await prepare(shell, args, host);
  const act = command === 'plan' ? (await import('./plan.ts')).plan : (await import('./release.ts')).release;
  await act(host.config, commands, io);
  return 0;
}

async function help(command: CommandName | undefined, colour: Paint): Promise<string> {
  const { commandHelp, programHelp } = await import('./help.ts');
  return command === undefined ? programHelp(colour) : commandHelp(command, colour);
}

/** The output is the command's: what goes well needs no word. */
function quietly(full: Loaded<Config>): Loaded<Config> {
  return { ...full, config: { ...full.config, log: { ...full.config.log, level: 'warn' } } };
}

type Warnings = Loaded<HostConfig>['warnings'];

const remark = ({ where, message }: Warnings[number]): string => `${where}: ${message}`;

function warn(io: Io, warnings: Warnings): void {
  for (const warning of warnings) io.log.warn({}, remark(warning));
}

/** The parts name what is wrong by its key; the operator wants the flag, variable or line that gave it. */
function located({ problems }: ProblemsError, origins: Loaded<HostConfig>['origins']): ProblemsError {
  return new ProblemsError(problems.map((problem) => placed(problem, origins)));
}

async function prepare(
  shell: Shell,
  args: Arguments,
  { config }: Loaded<HostConfig>,
  // Before the parts are loaded: a signal during the load must not end the process out of order.
  stop: AbortSignal = shell.stopOnSignals(),
): Promise<{ commands: Commands; io: Io }> {
  const { terminal } = shell.stderr;
  const colour = wantsColour(terminal, shell.environment);
  const recent = new RecentLines();
  const [log, commands] = await Promise.all([
    createLogger({ ...config.log, terminal, colour, recent }),
    shell.loadCommands(),
  ]);
  const io: Io = {
    log,
    recent,
    stop,
    version: shell.version,
    json: args.json,
    print: (text) => shell.stdout.write(text),
    logLevel: (level) => {
      log.level = level;
    },
  };
  return { commands, io };
}

/** How errors are told before, or when, the configuration cannot be had: by flags and environment alone. */
function earlyLog({ environment }: Shell, { flags }: Arguments): EarlyLog {
  const early = <V extends string>(id: 'log.level' | 'log.format', fallback: V): V => {
    const { env, kind } = setting(id);
    const text = flags.get(id)?.[0]?.text ?? (env === undefined ? undefined : environment[env]);
    return text !== undefined && kind.words?.includes(text) === true ? (text as V) : fallback;
  };
  return {
    level: early<LogConfig['level']>('log.level', 'info'),
    format: early<LogConfig['format']>('log.format', 'auto'),
  };
}

function print(shell: Shell, text: string): number {
  shell.stdout.write(text);
  return 0;
}
