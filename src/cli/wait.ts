import { setTimeout as sleep } from 'node:timers/promises';

import { askStatus } from '../control/client.ts';
import type { ToldCondition } from '../control/health.ts';
import { NetproxyError } from '../core/errors.ts';
import { WAIT_POLL_MS } from '../core/limits.ts';

interface Readyz {
  readonly conditions: readonly ToldCondition[];
}

/** `netproxy wait`: returns when the netproxy of this network namespace is ready. Throws NOT_READY, NOT_RUNNING. */
export async function wait(
  options: { readonly socket: string | undefined; readonly timeoutMs: number; readonly json: boolean },
  print: (text: string) => void,
): Promise<void> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    const over = performance.now() >= deadline;
    try {
      const { status, body } = await askStatus({ path: '/readyz' }, options.socket);
      const { conditions } = body as Readyz;
      if (status === 200) {
        print(options.json ? `${JSON.stringify(body)}\n` : 'netproxy is ready\n');
        return;
      }
      if (over) {
        const lacking = conditions.filter(({ ok }) => !ok);
        const reasons = lacking.map(
          ({ name, reason, forSeconds }) => `${name}: ${reason} (for ${forSeconds} s)`,
        );
        throw new NetproxyError('NOT_READY', `not ready in time: ${reasons.join('; ')}`);
      }
    } catch (error) {
      // It may not have begun yet.
      if (over || !(error instanceof NetproxyError) || error.code !== 'NOT_RUNNING') throw error;
    }
    await sleep(WAIT_POLL_MS);
  }
}
