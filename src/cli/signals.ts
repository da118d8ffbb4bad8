import { constants } from 'node:os';
import { STOP_SIGNALS } from './run.ts';

/**
 * A signal that aborts at the first SIGTERM or SIGINT, with the signal's name as its reason. The
 * second one ends the process at once, by 128 + its number, as shells do.
 */
export function stopOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of Object.keys(STOP_SIGNALS) as (keyof typeof STOP_SIGNALS)[]) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(128 + constants.signals[name]);
      controller.abort(name);
    });
  }
  return controller.signal;
}
