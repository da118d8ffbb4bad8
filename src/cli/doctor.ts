import type { Config, HostConfig } from '../config/config.ts';
import { loadConfig, loadHostConfig } from '../config/load.ts';
import type { Loaded, Sources } from '../config/load.ts';
import { EXIT_FAILURE, ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import type { Finding } from '../core/finding.ts';
import type { Arguments } from './arguments.ts';
import type { Commands, Examined, Io } from './commands.ts';
import type { Paint } from './style.ts';

/** What the command line and its surroundings give to look at. */
export interface Admitted {
  readonly host: Loaded<HostConfig>;
  readonly full: Loaded<Config> | undefined;
  readonly problems: readonly Problem[];
}

/** Reads the configuration, if there is one; what is wrong with it is for the doctor to tell. */
export async function admit(args: Arguments, sources: Sources): Promise<Admitted> {
  if (args.problems.length > 0) throw new ProblemsError(args.problems);
  const given = (['config', 'bastion'] as const).some((id) => args.flags.has(id));
  const variables = ['NETPROXY_CONFIG', 'NETPROXY_BASTION'].map((name) => sources.environment[name] ?? '');
  try {
    if (given || variables.some((value) => value !== '')) {
      const full = await loadConfig(sources);
      return { host: full, full, problems: [] };
    }
    return { host: await loadHostConfig(sources), full: undefined, problems: [] };
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error;
    // The machine is looked at by the defaults then.
    const host = await loadHostConfig({ flags: new Map(), environment: {} });
    return { host, full: undefined, problems: error.problems };
  }
}

/** `netproxy doctor`: what was found, and exit code 1 when something keeps netproxy from working. */
export async function doctor(patient: Examined, commands: Commands, io: Io, paint: Paint): Promise<number> {
  const findings = await commands.doctor(patient);
  const failed = findings.some(({ status }) => status === 'fail');
  io.print(io.json ? `${JSON.stringify({ ok: !failed, findings }, undefined, 2)}\n` : table(findings, paint));
  return failed ? EXIT_FAILURE : 0;
}

const COLOURS = { ok: 'green', warn: 'yellow', fail: 'red', skipped: 'dim' } as const;

/** Columns of the longest word for a status. */
const WIDTH = 8;

function table(findings: readonly Finding[], paint: Paint): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const indent = ' '.repeat(WIDTH);
  const lines = findings.map(({ check, status, found, fix }) => {
    const mends = fix === undefined ? '' : `${indent}fix: ${fix.replaceAll('\n', `\n${indent}     `)}\n`;
    return `${paint(COLOURS[status], status.padEnd(WIDTH))}${check.padEnd(width)}  ${found}\n${mends}`;
  });
  const count = (status: Finding['status']): number => findings.filter((one) => one.status === status).length;
  return `${lines.join('')}\n${count('fail')} failed, ${count('warn')} warnings, ${count('ok')} fine\n`;
}
