import type { Environment } from '../config/environment.ts';
import { ask } from '../control/client.ts';
import type { ToldCondition } from '../control/health.ts';
import { socketPaths } from '../control/socket-path.ts';
import { ProblemsError } from '../core/errors.ts';
import type { Arguments } from './arguments.ts';
import type { Commands, ToldContainer } from './commands.ts';
import type { Paint } from './style.ts';

/** A container with what the netproxy that is attached to it says, if one answers. */
interface Told extends ToldContainer {
  readonly netproxy?: { readonly ready: boolean; readonly reason: string };
}

/** `netproxy status --docker`: the containers that are attached, provide a network or share one. */
export async function dockerStatus(
  args: Arguments,
  environment: Environment,
  commands: Commands,
  io: { print(text: string): void; readonly paint: Paint },
): Promise<void> {
  if (args.problems.length > 0) throw new ProblemsError(args.problems);
  const found = await commands.containers(environment);
  const containers = await Promise.all(found.map(withNetproxy));
  io.print(args.json ? `${JSON.stringify({ containers }, undefined, 2)}\n` : table(containers, io.paint));
}

async function withNetproxy(container: ToldContainer): Promise<Told> {
  const { netns, role } = container;
  if (role !== 'attached' || netns === undefined) return container;
  let reason = '';
  for (const socket of await socketPaths(undefined, netns)) {
    try {
      const { text } = await ask({ path: '/readyz' }, socket);
      const { ready, conditions } = JSON.parse(text) as {
        ready: boolean;
        conditions: readonly ToldCondition[];
      };
      const lacking = conditions.filter(({ ok }) => !ok).map((each) => `${each.name}: ${each.reason}`);
      return { ...container, netproxy: { ready, reason: lacking.join('; ') } };
    } catch (error) {
      reason ||= (error as Error).message;
    }
  }
  return { ...container, netproxy: { ready: false, reason } };
}

const NAMESPACES: Readonly<Record<ToldContainer['namespace'], string>> = {
  own: 'its own',
  alive: 'alive',
  orphaned: 'orphaned',
  gone: 'provider gone',
  'provider-stopped': 'provider stopped',
  stopped: 'stopped',
};

const HEAD = ['CONTAINER', 'ROLE', 'PROVIDER', 'NAMESPACE', 'HEALTH', 'NETPROXY'] as const;

function table(containers: readonly Told[], paint: Paint): string {
  if (containers.length === 0)
    return 'No container is attached (label netproxy.enable=true), provides a network or shares one.\n';
  const rows = containers.map((each) => [
    each.name,
    each.role,
    each.provider ?? '-',
    NAMESPACES[each.namespace],
    each.health ?? '-',
    each.netproxy === undefined ? '-' : each.netproxy.ready ? 'ready' : 'not ready',
  ]);
  const widths = HEAD.map((head, at) => Math.max(head.length, ...rows.map((row) => row[at]!.length)));
  const text = (row: readonly string[]): string =>
    row
      .map((cell, at) => cell.padEnd(widths[at]!))
      .join('  ')
      .trimEnd();
  const lines = containers.map((each, at) => {
    const why = each.netproxy?.ready === false ? `  ${paint('red', each.netproxy.reason)}\n` : '';
    return `${text(rows[at]!)}\n${why}`;
  });
  const broken = containers.some(({ namespace }) => namespace === 'orphaned' || namespace === 'gone');
  const fix = broken ? `${paint('green', 'fix:')} netproxy reattach\n` : '';
  return `${paint('bold', text(HEAD))}\n${lines.join('')}${fix}`;
}
