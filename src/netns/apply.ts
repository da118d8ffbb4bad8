import type { NetRunner } from './runner.ts';
import type { Step } from './step.ts';

/**
 * Runs the steps: those of nftables where they stand, table by table; of the others first those of the device,
 * then those of IPv4 and, at the same time, those of IPv6, each in order by one `ip -batch`. Neither
 * family's steps depend on the other's.
 */
export async function apply(steps: readonly Step[], runner: NetRunner): Promise<void> {
  const tables = tablesOf(steps);
  const routes = steps.filter((step) => step.tool === 'ip');
  const tablesFirst = steps[0]?.tool === 'nft';
  if (tablesFirst) for (const table of tables) await applyAtOnce(table, runner);
  await run(0, routes, runner);
  const ends = await Promise.allSettled([run(4, routes, runner), run(6, routes, runner)]);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  if (!tablesFirst) for (const table of tables) await applyAtOnce(table, runner);
}

/** The steps of nftables, by the table that they are about. */
export function tablesOf(steps: readonly Step[]): readonly (readonly Step[])[] {
  const own = steps.filter((step) => step.tool === 'nft');
  return [...new Set(own.map(({ table }) => table))].map((table) =>
    own.filter((step) => step.table === table),
  );
}

/** Runs steps of nftables as one transaction. */
export async function applyAtOnce(steps: readonly Step[], runner: NetRunner): Promise<void> {
  if (steps.length > 0) await runner.nft(['-f', '-'], steps.map(({ line }) => `${line}\n`).join(''));
}

async function run(family: Step['family'], steps: readonly Step[], runner: NetRunner): Promise<void> {
  const lines = steps.filter((step) => step.family === family).map((step) => `${step.line}\n`);
  if (lines.length === 0) return;
  await runner.ip([...(family === 0 ? [] : [`-${family}`]), '-batch', '-'], lines.join(''));
}
