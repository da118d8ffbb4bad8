/** Signals to netproxy that mean the command it runs. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export type ForwardedSignal = (typeof FORWARDED)[number];

/** Those that a terminal sends to all processes of its foreground group, so that the command has it already. */
const OF_TERMINALS: ReadonlySet<ForwardedSignal> = new Set(['SIGINT', 'SIGQUIT', 'SIGHUP']);

/** Calls `receive` with the name and number of each that is meant for the command; gives the end of it. */
export function listenForSignals(
  receive: (name: ForwardedSignal, number: number, ofTerminal: boolean) => void,
): () => void {
  const listeners = FORWARDED.map((name) => {
    const listener = (): void =>
      receive(name, constants.signals[name], OF_TERMINALS.has(name) && isInForeground());
    process.on(name, listener);
    return { name, listener };
  });
  return () => {
    for (const { name, listener } of listeners) process.off(name, listener);
  };
}

/** proc_pid_stat(5): fields 5 and 8 are our group and that which the terminal, if there is one, belongs to. */
function isInForeground(): boolean {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return fields[2] === fields[5];
}
