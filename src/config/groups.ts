import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import type { GroupPolicy } from './config.ts';
import type { Placed } from './credentials.ts';

/** A group as it stands in the file. What is undefined has been reported already. */
export interface PlacedGroup {
  readonly name: string | undefined;
  readonly where: string;
  readonly bastions: readonly Placed<string>[];
  readonly policy: GroupPolicy | undefined;
}

/** Checks that groups name bastions that there are, each once. */
export function checkGroups(
  groups: readonly PlacedGroup[],
  bastions: readonly string[],
  problems: Problem[],
): void {
  for (const group of groups) {
    const seen = new Set<string>();
    for (const { value, where } of group.bastions) {
      if (!bastions.includes(value)) {
        const near = suggest(value, bastions);
        problems.push({
          code: 'CONFIG_INVALID',
          where,
          message: `found "${value}", which is no bastion; allowed: ${bastions.join(', ') || 'names of bastions'}`,
          hint: near === undefined ? 'Name a bastion of the list "bastions".' : `Did you mean ${near}?`,
        });
      } else if (seen.has(value)) {
        problems.push({
          code: 'CONFIG_INVALID',
          where,
          message: `found "${value}" a second time; allowed: each bastion once`,
          hint: 'Remove it here.',
        });
      }
      seen.add(value);
    }
  }
}
