/**
 * A takeover and a release that are killed after every single step, in real namespaces: whoever comes next
 * makes them whole, or puts everything back.
 */
import { after, describe, test } from 'node:test';

import { apply } from '../../src/netns/apply.ts';
import { describe as transcript } from '../../src/netns/describe.ts';
import type { Step } from '../../src/netns/step.ts';
import { planTakeOver, release, takeOver } from '../../src/netns/takeover.ts';
import {
  assertRoutes,
  inputs,
  namespaces,
  namespaceWith,
  removeNamespaces,
  takenRoutes,
} from './route-kinds.ts';
import { INPUT, addTun, runnerIn } from './routes-lab.ts';

/** The kill matrix takes a second a step, so it is run where the steps differ most. */
const KILLED: readonly string[] = [
  'as Docker makes it',
  'two uplinks',
  'multipath',
  'destinations that go another way',
];

/** Each kind has a namespace of its own, and most of a step is waiting for processes. */
const AT_ONCE = 2;
/** Milliseconds. A step is some dozens of processes. */
const DEADLINE_MS = 800_000;

after(removeNamespaces);

/** After how many steps a kill can strike: a table of nftables is applied whole or not at all. */
function killPoints(steps: readonly Step[]): number[] {
  return [...steps.keys(), steps.length].filter(
    (count) => count === 0 || steps[count]?.tool !== 'nft' || steps[count - 1]?.table !== steps[count]?.table,
  );
}

describe('a takeover or release that is killed at any step', { concurrency: AT_ONCE }, () => {
  for (const name of KILLED) {
    const lines = namespaces[name]!;
    const input = inputs[name] ?? INPUT;

    test(`the takeover, with ${name}`, { timeout: DEADLINE_MS }, async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);
      const steps = await planTakeOver(input, runner);
      await takeOver(input, runner);
      const taken = await takenRoutes(namespace);
      await release(runner);
      await namespace.ip('link del tun0');

      for (const killed of killPoints(steps)) {
        const where = `killed after ${killed} of\n${transcript(steps)}`;
        await addTun(namespace);
        await apply(steps.slice(0, killed), runner);
        // The TUN dies with its process.
        await namespace.ip('link del tun0');
        await addTun(namespace);
        await takeOver(input, runner);
        await assertRoutes(namespace, taken, where);
        await release(runner);
        await namespace.ip('link del tun0');
        await assertRoutes(namespace, before, where);

        // And with no restart in between: the release alone repairs it, too.
        await addTun(namespace);
        await apply(steps.slice(0, killed), runner);
        await namespace.ip('link del tun0');
        await release(runner);
        await assertRoutes(namespace, before, where);
      }
    });

    test(`the release, with ${name}`, { timeout: DEADLINE_MS }, async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);
      await takeOver(input, runner);
      const taken = await takenRoutes(namespace);
      const steps = await release(runner);
      for (const killed of killPoints(steps)) {
        const where = `killed after ${killed} of\n${transcript(steps)}`;
        await takeOver(input, runner);
        await assertRoutes(namespace, taken, where);
        await apply(steps.slice(0, killed), runner);
        await release(runner);
        await namespace.ip('link del tun0');
        await assertRoutes(namespace, before, where);
        await addTun(namespace);
      }
    });
  }
});
