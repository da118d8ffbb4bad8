/** An allow-list: a file of rules, of which "via" may be left out, or a configuration of which the rules count. */
import { ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import type { Rule } from '../policy/rule.ts';
import { readConfigFile, readRuleText } from './file.ts';
import { fileReader } from './read-file.ts';
import { readRules } from './rules.ts';

const read = fileReader('CONFIG_UNREADABLE');

/** Rules that lead nowhere refuse, and all others allow. Throws a ProblemsError, or CONFIG_UNREADABLE. */
export async function loadAllowList(path: string): Promise<readonly Rule[]> {
  const problems: Problem[] = [];
  const text = read(path).toString('utf8');
  const items = /^rules\s*:/m.test(text)
    ? ((await readConfigFile(path, '--allow', read, problems)).lists.get('rules') ?? [])
    : await readRuleText({ text, where: path }, 0, problems);
  for (const { where, given } of items) {
    if (!given.has('rules[].via')) given.set('rules[].via', [{ text: 'direct', where }]);
  }
  const rules = readRules(items, undefined, problems, new Map());
  if (problems.length > 0) throw new ProblemsError(problems);
  return rules().map((rule) =>
    rule.via.kind === 'reject' || rule.via.kind === 'drop' ? rule : { ...rule, via: { kind: 'direct' } },
  );
}
