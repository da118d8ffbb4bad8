/**
 * Patterns of names in rules: `db.example` exactly; `*.example` every name below; `db-*.example` with `*`
 * for any characters of one label; `/…/` a regular expression for the whole name.
 *
 * The names come from the application, and so may be anybody's: nothing here may backtrack. Regular
 * expressions are RE2's (docs/decisions/0017-rules.md).
 */
import { createRequire } from 'node:module';
import type * as Re2js from 're2js';
import { NAME_PATTERN_MAX, RULE_REPETITIONS_MAX } from '../core/limits.ts';

export type NamePattern =
  | { readonly kind: 'exact'; readonly name: string }
  /** Every name with one label more, or several, than `name`. */
  | { readonly kind: 'suffix'; readonly name: string }
  /** What can only be tried. */
  | { readonly kind: 'test'; test(name: string): boolean };

/** Why a text is no pattern. */
export class BadPattern extends Error {}

/** Reads a pattern. Throws BadPattern. */
export function parseNamePattern(text: string): NamePattern {
  if (text.length > NAME_PATTERN_MAX) throw new BadPattern(`longer than ${NAME_PATTERN_MAX} characters`);
  if (text.startsWith('/')) return regularExpression(text);
  const name = text.toLowerCase().replace(/\.$/, '');
  const suffix = name.startsWith('*.') ? name.slice(2) : undefined;
  const labels = (suffix ?? name).split('.');
  if (labels.some((label) => !/^[a-z0-9_*]([a-z0-9_*-]{0,61}[a-z0-9_*])?$/.test(label)))
    throw new BadPattern('not a host name');
  if (suffix === undefined && !name.includes('*')) return { kind: 'exact', name };
  if (suffix !== undefined && !suffix.includes('*')) return { kind: 'suffix', name: suffix };
  const globs = labels.map(glob);
  return {
    kind: 'test',
    test(candidate) {
      const found = candidate.split('.');
      const more = found.length - globs.length;
      if (suffix === undefined ? more !== 0 : more < 1) return false;
      return globs.every((matches, index) => matches(found[more + index] ?? ''));
    },
  };
}

/** Matches one label, each part at the first place where it fits: no place is looked at twice. */
function glob(label: string): (candidate: string) => boolean {
  const [first = '', ...rest] = label.split('*');
  const last = rest.pop();
  if (last === undefined) return (candidate) => candidate === first;
  return (candidate) => {
    if (candidate.length < first.length + last.length) return false;
    if (!candidate.startsWith(first) || !candidate.endsWith(last)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = candidate.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return at <= candidate.length - last.length;
  };
}

function regularExpression(text: string): NamePattern {
  if (text.length < 3 || !text.endsWith('/')) throw new BadPattern('a regular expression ends with "/"');
  // Loaded here because few configurations need it, and it costs 14 ms and 7 MB.
  const { RE2JS, RE2JSException } = createRequire(import.meta.url)('re2js') as typeof Re2js;
  // RE2 writes repetitions out, those within others by multiplication.
  const repetitions = [...text.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].map(([, least, most]) =>
    Math.max(Number(least), Number(most ?? 0)),
  );
  if (repetitions.reduce((product, each) => product * Math.max(each, 1), 1) > RULE_REPETITIONS_MAX)
    throw new BadPattern(`more than ${RULE_REPETITIONS_MAX} repetitions`);
  try {
    const compiled = RE2JS.compile(text.slice(1, -1), RE2JS.CASE_INSENSITIVE);
    return { kind: 'test', test: (name) => compiled.matches(name) };
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new BadPattern(`not a regular expression: ${error.message}`);
  }
}
