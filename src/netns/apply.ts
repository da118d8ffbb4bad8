import type { NetRunner } from './runner.ts';
import type { Step } from './step.ts';

/**
 * Runs the steps: those of the filter at once, where they stand; of the others first those of the device,
 * then those of IPv4 and, at the same time, those of IPv6, each in order by one `ip -batch`. Neither
 * family's steps depend on the other's.
 */
export async function apply(steps: readonly Step[], runner: NetRunner): Promise<void> {
  const filter = steps.filter((step) => step.tool === 'nft').map((step) => `${step.line}\n`);
  const routes = steps.filter((step) => step.tool === 'ip');
  const filterFirst = steps[0]?.tool === 'nft';
  if (filter.length > 0 && filterFirst) await runner.nft(['-f', '-'], filter.join(''));
  await run(0, routes, runner);
  const ends = await Promise.allSettled([run(4, routes, runner), run(6, routes, runner)]);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  if (filter.length > 0 && !filterFirst) await runner.nft(['-f', '-'], filter.join(''));
}

async function run(family: Step['family'], steps: readonly Step[], runner: NetRunner): Promise<void> {
  const lines = steps.filter((step) => step.family === family).map((step) => `${step.line}\n`);
  if (lines.length === 0) return;
  await runner.ip([...(family === 0 ? [] : [`-${family}`]), '-batch', '-'], lines.join(''));
}
