import { nameMatches } from './match.ts';
import { parseNamePattern } from './name-pattern.ts';
import type { Rule } from './rule.ts';

/**
 * Says of a name whether a fake address is to stand for it: the first of `rules` that asks for names and matches
 * decides, whatever else it asks, since nothing is known yet of flows.
 */
export function fakeNames(rules: readonly Rule[]): (name: string) => boolean {
  const last = rules.findLastIndex(({ resolve }) => resolve === 'fake');
  const asking = rules
    .slice(0, last + 1)
    .filter(({ names }) => names.length > 0)
    .map(({ names, resolve }) => ({ patterns: names.map(parseNamePattern), fake: resolve === 'fake' }));
  return (name) =>
    asking.find(({ patterns }) => patterns.some((each) => nameMatches(each, name)))?.fake ?? false;
}
