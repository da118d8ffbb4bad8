import { describeConfig } from '../config/describe.ts';
import type { Described } from '../config/describe.ts';
import type { Loaded } from '../config/load.ts';
import type { Config } from '../config/config.ts';
import { ProblemsError } from '../core/errors.ts';
import type { Commands, Io } from './commands.ts';

/** `netproxy check`: the parts judge what the table cannot, then the effective configuration is printed. */
export async function check(loaded: Loaded<Config>, commands: Commands, io: Io): Promise<void> {
  const problems = await commands.check(loaded.config, io);
  if (problems.length > 0) throw new ProblemsError(problems);
  const described = describeConfig(loaded);
  const { warnings } = loaded;
  const json = { valid: true, settings: described, warnings };
  io.print(io.json ? `${JSON.stringify(json, undefined, 2)}\n` : table(described, warnings));
}

function table(described: readonly Described[], warnings: Loaded<Config>['warnings']): string {
  const rows = described.map(({ key, value, origin }) => [key, shown(value), origin] as const);
  const width = (column: 0 | 1): number => Math.max(...rows.map((row) => row[column].length));
  const [keys, values] = [width(0), width(1)];
  const lines = rows.map(([key, value, origin]) => `${key.padEnd(keys)}  ${value.padEnd(values)}  ${origin}`);
  const remarks = warnings.map(({ where, message }) => `warning ${where}: ${message}\n`).join('');
  return `${lines.join('\n')}\n\n${remarks}The configuration is valid.\n`;
}

function shown(value: Described['value']): string {
  if (value === undefined) return '-';
  return typeof value === 'string' ? value : `[${value.join(', ')}]`;
}
