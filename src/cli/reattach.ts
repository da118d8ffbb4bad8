import type { Environment } from '../config/environment.ts';
import { EXIT_FAILURE, ProblemsError } from '../core/errors.ts';
import type { Arguments } from './arguments.ts';
import type { Commands, ToldRepair } from './commands.ts';
import type { Paint } from './style.ts';

/** `netproxy reattach`: what was, or is to be, repaired; exit code 1 when something was not. */
export async function reattach(
  args: Arguments,
  environment: Environment,
  commands: Commands,
  io: { print(text: string): void; readonly paint: Paint },
): Promise<number> {
  if (args.problems.length > 0) throw new ProblemsError(args.problems);
  const dryRun = args.switches.has('dry-run');
  const repairs = await commands.reattach({ environment, dryRun, provider: args.operands[0] });
  const failed = repairs.some(({ done, kind }) => !done && (!dryRun || kind === 'none'));
  const json = { ok: !failed, dryRun, repairs };
  io.print(args.json ? `${JSON.stringify(json, undefined, 2)}\n` : table(repairs, dryRun, io.paint));
  return failed ? EXIT_FAILURE : 0;
}

function table(repairs: readonly ToldRepair[], dryRun: boolean, paint: Paint): string {
  if (repairs.length === 0) return 'Every container is in the network namespace of its provider.\n';
  return repairs.map((repair) => line(repair, dryRun, paint)).join('');
}

function line({ container, kind, why, fix, done, error }: ToldRepair, dryRun: boolean, paint: Paint): string {
  const did = { restart: 'restarted', recreate: 'recreated', none: '' }[kind];
  const word = kind === 'none' ? 'left' : done ? did : dryRun ? `to be ${did}` : 'failed';
  const colour = done ? 'green' : dryRun && kind !== 'none' ? 'yellow' : 'red';
  const failure = error === undefined ? '' : `  ${error}\n`;
  const mends = fix === undefined ? '' : `  ${paint('green', 'fix:')} ${fix}\n`;
  return `${paint(colour, word)} ${container.name}: ${why}\n${failure}${mends}`;
}
