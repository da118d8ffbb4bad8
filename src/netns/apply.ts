import type { IpRunner } from './ip.ts';
import type { Step } from './step.ts';

/**
 * Runs the steps: first those of the device, then those of IPv4 and, at the same time, those of IPv6,
 * each in order by one `ip -batch`. Neither family's steps depend on the other's.
 */
export async function apply(steps: readonly Step[], runner: IpRunner): Promise<void> {
  await run(0, steps, runner);
  const ends = await Promise.allSettled([run(4, steps, runner), run(6, steps, runner)]);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

async function run(family: Step['family'], steps: readonly Step[], runner: IpRunner): Promise<void> {
  const lines = steps.filter((step) => step.family === family).map((step) => `${step.line}\n`);
  if (lines.length === 0) return;
  await runner.ip([...(family === 0 ? [] : [`-${family}`]), '-batch', '-'], lines.join(''));
}
