/** The command line of this checkout, on the machine of an engine. */
import { resolve } from 'node:path';
import type { Engine } from '../lab/engine.ts';
import type { RunOptions, RunResult } from '../lab/namespaces.ts';

export const main: string = resolve(import.meta.dirname, '../../dist/main.js');
const DEADLINE_MS = 120_000;

/** Runs `netproxy` to its end there; a failure is a result. `before` is a command that it is run by. */
export function netproxy(
  engine: Engine,
  args: readonly string[],
  { before = [], ...options }: RunOptions & { before?: readonly string[] } = {},
): Promise<RunResult> {
  return engine.machine.run([...before, process.execPath, main, ...args], {
    ...{ mayFail: true, timeoutMs: DEADLINE_MS },
    ...options,
    env: { ...engine.environment, ...options.env },
  });
}
