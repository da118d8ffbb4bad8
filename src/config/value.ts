import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import { BadValue } from './kind.ts';
import type { Setting } from './settings.ts';

/** Text that some source gave for a setting. */
export interface Given {
  readonly text: string;
  /** `--flag`, `NETPROXY_NAME` or `file:line:column key`. */
  readonly where: string;
}

/** Where a value came from, without its key: the reader of an origin knows the key. */
export function originOf(given: Given | undefined): string {
  return given === undefined ? 'default' : (/^(.+:\d+:\d+) \S+$/.exec(given.where)?.[1] ?? given.where);
}

/** Longest part of a wrong value that a message repeats, in characters. */
const ECHO_MAX = 80;

/** Reads one value; a problem goes to `problems` and gives undefined. */
export function readValue<T>(setting: Setting<T>, given: Given, problems: Problem[]): T | undefined {
  const text = given.text.trim();
  try {
    if (text === '') throw new BadValue('the value is empty');
    return setting.kind.parse(text);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    const found = error.mayEcho && text !== '' ? `found ${quote(text)}: ` : '';
    const word = suggest(text, setting.kind.words ?? []);
    const hint = error.hint ?? (word === undefined ? change(setting) : `Did you mean ${word}?`);
    problems.push({
      code: 'CONFIG_INVALID',
      where: given.where,
      message: `${found}${error.message}; allowed: ${setting.kind.allowed}`,
      hint,
    });
    return undefined;
  }
}

function change({ default: fallback }: Setting): string {
  return fallback === undefined
    ? 'Correct the value.'
    : `Correct it, or leave it out to have the default, ${fallback}.`;
}

/** `text` within quotes, on one line and of bounded length. */
export function quote(text: string): string {
  return JSON.stringify(text.length > ECHO_MAX ? `${text.slice(0, ECHO_MAX)}…` : text);
}
