import type { Problem } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import type { Placed } from './credentials.ts';

/** Which bastion another is reached through, as it stands in the configuration. */
export interface PlacedJump {
  readonly name: string | undefined;
  readonly jump: Placed<string> | undefined;
}

/** Checks that each way to a bastion begins with one that needs none. */
export function checkJumps(bastions: readonly PlacedJump[], problems: Problem[]): void {
  const jumps = new Map(bastions.map(({ name, jump }) => [name, jump?.value]));
  const names = bastions.flatMap(({ name }) => name ?? []);
  const told = new Set<string>();
  for (const { name, jump } of bastions) {
    if (name === undefined || jump === undefined) continue;
    if (!jumps.has(jump.value)) {
      const others = names.filter((other) => other !== name);
      const near = suggest(jump.value, others);
      problems.push({
        code: 'CONFIG_INVALID',
        where: jump.where,
        message: `found "${jump.value}", which is no bastion; allowed: ${others.join(', ') || 'the name of another bastion'}`,
        hint: near === undefined ? 'Name another bastion of the list "bastions".' : `Did you mean ${near}?`,
      });
      continue;
    }
    const way = [name];
    for (let hop = jumps.get(name); hop !== undefined; hop = jumps.get(hop)) {
      way.push(hop);
      // A way that leads into a loop is not one itself: the loop is told where it is.
      if (hop === name || way.indexOf(hop) < way.length - 1) break;
    }
    if (way.at(-1) !== name || told.has(name)) continue;
    for (const hop of way) told.add(hop);
    problems.push({
      code: 'CONFIG_INVALID',
      where: jump.where,
      message: `found a loop: ${way.join(' -> ')}; allowed: a way that begins with a bastion without "jump"`,
      hint: 'Remove "jump" from the one that is reached directly.',
    });
  }
}
