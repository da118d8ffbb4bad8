/** One command in a namespace of its own, from the start of netproxy to the exit code. */
import { constants } from 'node:os';

import { NetproxyError } from '../core/errors.ts';
import { JOB_READY_DEADLINE_MS } from '../core/limits.ts';
import { listenForSignals } from './signals.ts';

/** What runs the command; src/netns/helper.ts has one. */
export interface Runner {
  spawn(
    argv: readonly string[],
    environment: NodeJS.ProcessEnv,
  ): { readonly id: number; readonly end: Promise<{ code: number } | { signal: number } | string> };
  signal(id: number, signal: number): void;
}

/** Whether what is needed is there. */
export interface ReadyState {
  whenReady(): Promise<void>;
  conditions(): readonly { readonly name: string; readonly ok: boolean; readonly reason: string }[];
}

export interface JobOptions {
  readonly argv: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly runner: Runner;
  /** The command has ended, and what forwards has not. */
  readonly commandEnded: () => void;
  /** Begins to forward, until `stop`. */
  readonly forward: (stop: AbortSignal) => { readonly ready: ReadyState; readonly ended: Promise<void> };
}

/** What shells add to the number of a signal. */
const SIGNALLED = 128;

/** Waits until all is ready, runs the command to its end and ends what forwards; gives the exit code. */
export async function runJob(options: JobOptions): Promise<number> {
  const { argv, environment, runner, forward } = options;
  const stop = new AbortController();
  let interrupted: number | undefined;
  let running: number | undefined;
  const endListening = listenForSignals((name, number, ofTerminal) => {
    if (running !== undefined) {
      if (!ofTerminal) runner.signal(running, number);
      return;
    }
    interrupted = SIGNALLED + number;
    stop.abort(name);
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    const { ready, ended } = forward(stop.signal);
    ended.catch(() => {});
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(notReady(ready)), JOB_READY_DEADLINE_MS);
    });
    try {
      await Promise.race([ready.whenReady(), ended, late]);
      clearTimeout(timer);
      if (interrupted !== undefined) return interrupted;
      const { id, end } = runner.spawn(argv, environment);
      running = id;
      // That which forwards ends first only by an error.
      const how = (await Promise.race([end, ended])) ?? { signal: constants.signals.SIGKILL };
      options.commandEnded();
      return exitCodeOf(how, argv[0] ?? '');
    } finally {
      stop.abort('the command has ended');
      await ended.catch(() => {});
    }
  } finally {
    clearTimeout(timer);
    endListening();
  }
}

function exitCodeOf(how: { code: number } | { signal: number } | string, command: string): number {
  if (typeof how !== 'string') return 'code' in how ? how.code : SIGNALLED + how.signal;
  // As env(1), nohup(1) and shells tell the two apart.
  throw how === 'ENOENT'
    ? new NetproxyError('COMMAND_MISSING', `running "${command}": there is no such command`)
    : new NetproxyError('COMMAND_UNUSABLE', `running "${command}": ${how}`);
}

function notReady(ready: ReadyState): NetproxyError {
  const lacking = ready.conditions().filter(({ ok }) => !ok);
  const reasons = lacking.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  const seconds = JOB_READY_DEADLINE_MS / 1000;
  return new NetproxyError(
    'NOT_READY',
    `not ready after ${seconds} s, so the command was not started: ${reasons}`,
  );
}
