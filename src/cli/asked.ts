/** What the commands that ask a running netproxy are given: neither the parts nor a whole configuration. */
import type { Environment } from '../config/environment.ts';
import { duration } from '../config/kind.ts';
import { setting } from '../config/settings.ts';
import { readValue } from '../config/value.ts';
import { ProblemsError } from '../core/errors.ts';
import { WAIT_DEADLINE_MAX_MS, WAIT_DEADLINE_MS } from '../core/limits.ts';
import type { Arguments } from './arguments.ts';

export interface AskedInput {
  /** Path of the control socket; undefined for the usual places. */
  readonly socket: string | undefined;
  readonly timeoutMs: number;
  readonly json: boolean;
}

/** Reads the flag, the variable and the operand. Throws one ProblemsError. */
export function askedInput(
  { command, flags, operands, problems, json }: Arguments,
  env: Environment,
): AskedInput {
  const found = [...problems];
  const row = setting('control.socket');
  const variable = env[row.env!] ?? '';
  const given =
    flags.get('control.socket')?.[0] ?? (variable === '' ? undefined : { text: variable, where: row.env! });
  const socket = given === undefined ? undefined : readValue(row, given, found);
  const [text] = command === 'wait' ? operands : [];
  const wanted = { ...row, kind: duration(0, WAIT_DEADLINE_MAX_MS) };
  const timeoutMs =
    text === undefined ? WAIT_DEADLINE_MS : readValue(wanted, { text, where: quoted(text) }, found);
  if (found.length > 0 || timeoutMs === undefined) throw new ProblemsError(found);
  return { socket, timeoutMs, json };
}

const quoted = (text: string): string => JSON.stringify(text);
