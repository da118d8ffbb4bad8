/** What `exec` and `record` are given beside the settings. */
import { isIP } from 'node:net';

import { BadValue, port as portKind } from '../config/kind.ts';
import { quote } from '../config/value.ts';
import type { Endpoint } from '../core/flow.ts';
import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import type { Rule } from '../policy/rule.ts';
import type { Arguments } from './arguments.ts';
import { RECORD_FORMATS, SET_ASIDE } from './job-commands.ts';
import type { RecordFormat } from './job-commands.ts';

export interface JobInput {
  readonly argv: readonly string[];
  readonly publish: readonly { readonly outside: Endpoint; readonly port: number }[];
  /** Path of the allow-list. */
  readonly allowFile: string | undefined;
  /** Path of the report, and in which form it is. */
  readonly report: string | undefined;
  readonly format: 'json' | RecordFormat;
}

/** With the rules of the allow-list; undefined: everything may be connected to. */
export interface Job extends JobInput {
  readonly allow: readonly Rule[] | undefined;
}

/** Reads the operands and parameters; what is wrong is added to `problems`. */
export function jobInput({ command, operands, parameters }: Arguments, problems: Problem[]): JobInput {
  const given = parameters.get('format');
  const format = RECORD_FORMATS.find((word) => word === (given ?? 'rules'));
  if (format === undefined) {
    const near = suggest(given ?? '', RECORD_FORMATS);
    problems.push({
      code: 'USAGE_INVALID',
      where: '--format',
      message: `found ${quote(given ?? '')}; allowed: ${RECORD_FORMATS.join(', ')}`,
      hint: near === undefined ? 'Name one of them.' : `Did you mean ${near}?`,
    });
  }
  const publish = (parameters.get('publish') ?? '').split(',').filter((text) => text.trim() !== '');
  return {
    argv: operands,
    publish: publish.flatMap((text) => readPublished(text.trim(), problems) ?? []),
    allowFile: parameters.get('allow'),
    report: parameters.get('report') ?? parameters.get('output'),
    format: command === 'record' ? (format ?? 'rules') : 'json',
  };
}

/** Remarks on settings that were given and count for nothing; `origins` says where each came from. */
export function setAside(
  origins: ReadonlyMap<string, string>,
  command: string,
): { readonly where: string; readonly message: string }[] {
  return Object.entries(SET_ASIDE).flatMap(([key, why]) => {
    const where = origins.get(key) ?? 'default';
    if (where === 'default') return [];
    return [{ where, message: `"${key}" counts for nothing in "${command}": ${why}` }];
  });
}

/** `OUT:IN`, `ADDRESS:OUT:IN` or `[ADDRESS]:OUT:IN`. */
function readPublished(text: string, problems: Problem[]): JobInput['publish'][number] | undefined {
  const [, bracketed, plain, out = '', inside = ''] =
    /^(?:\[([^\]]*)\]:|([^:]*):)?([^:]*):([^:]*)$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? '127.0.0.1';
  try {
    if (isIP(address) === 0) throw new BadValue(`${quote(address)} is no address`);
    return { outside: { address, port: portKind.parse(out) }, port: portKind.parse(inside) };
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    problems.push({
      code: 'USAGE_INVALID',
      where: '--publish',
      message: `found ${quote(text)}: ${error.message}; allowed: OUT:IN, ADDRESS:OUT:IN or [ADDRESS]:OUT:IN, several with commas between`,
      hint: 'Write 8080:80 for what the command serves at port 80.',
    });
    return undefined;
  }
}
