/** `netproxy logs`: the last lines of the log of a running netproxy, and further ones as they come. */
import { ask } from '../control/client.ts';
import { NetproxyError } from '../core/errors.ts';

export interface LogsOptions {
  readonly socket: string | undefined;
  readonly follow: boolean;
  /** Lines as they were written, one JSON object each. */
  readonly json: boolean;
  readonly colour: boolean;
  /** Ends `follow`. */
  readonly stop: AbortSignal;
}

const OK = 200;

/** Throws NOT_RUNNING, also when a netproxy that was followed ends. */
export async function logs(options: LogsOptions, print: (text: string) => void): Promise<void> {
  const { socket, follow, json, stop } = options;
  const format = json ? (line: string): string => `${line}\n` : await humanForm(options.colour);
  const { status } = await ask(
    {
      path: follow ? '/v1/logs?follow' : '/v1/logs',
      lines: (line) => print(format(line)),
      stop,
    },
    socket,
  );
  if (status !== OK) throw new NetproxyError('CONTROL_REFUSED', `/v1/logs answered ${status}`);
  if (follow && !stop.aborted)
    throw new NetproxyError('NOT_RUNNING', 'the netproxy that was followed has ended');
}

/** As the log itself is in the form "human". */
async function humanForm(colour: boolean): Promise<(line: string) => string> {
  const { prettyFactory } = await import('pino-pretty');
  return prettyFactory({
    colorize: colour,
    translateTime: 'SYS:HH:MM:ss.l',
    errorLikeObjectKeys: ['error', 'err'],
  }) as (line: string) => string;
}
