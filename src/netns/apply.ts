import type { IpRunner } from './ip.ts';
import type { Step } from './step.ts';

/** Runs the steps in order, with one `ip -batch` for each stretch of one family. */
export async function apply(steps: readonly Step[], runner: IpRunner): Promise<void> {
  let at = 0;
  while (at < steps.length) {
    const family = steps[at]?.family ?? 0;
    const start = at;
    while (steps[at]?.family === family) at++;
    const input = steps.slice(start, at).map((step) => `${step.line}\n`);
    await runner.ip([...(family === 0 ? [] : [`-${family}`]), '-batch', '-'], input.join(''));
  }
}
