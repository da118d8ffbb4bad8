/**
 * Layer 1 of the takeover: routes. Read, compute, apply; each part is a file of its own.
 *
 * Source addresses: a socket that binds none gets the TUN's address, since the default by the TUN is
 * found first; a marked one gets the uplink's. rp_filter: replies to marked sockets come in by the
 * uplink, and a strict check (1) looks the sender up without the mark, finds the TUN and drops them,
 * unless src_valid_mark is 1 and the packet carries the mark. Containers start with 0 or 2, for which
 * there is nothing to do; for 1 a warning says so, since /proc/sys is mostly read-only there.
 */
import { apply } from './apply.ts';
import { desired } from './desired.ts';
import type { TakeOverInput } from './desired.ts';
import { diff } from './diff.ts';
import { readFacts } from './facts.ts';
import type { Facts } from './facts.ts';
import type { IpRunner } from './ip.ts';
import { planRelease } from './release.ts';
import type { Step } from './step.ts';

export interface TakenOver {
  readonly steps: readonly Step[];
  /** Sentences for the operator. */
  readonly warnings: readonly string[];
}

/** The steps that `takeOver` would run now. */
export async function planTakeOver(input: TakeOverInput, runner: IpRunner): Promise<Step[]> {
  const facts = await readFacts(runner, input.tun.name);
  return diff(desired(input, facts), facts);
}

/** Leads the namespace's traffic to the TUN, which exists. A second call has nothing to do. */
export async function takeOver(input: TakeOverInput, runner: IpRunner): Promise<TakenOver> {
  const [facts, strict] = await Promise.all([readFacts(runner, input.tun.name), reversePathWarnings(runner)]);
  const want = desired(input, facts);
  const steps = diff(want, facts);
  await apply(steps, runner);
  return { steps, warnings: [...want.warnings, ...strict] };
}

/** Puts back what a takeover changed, also one of a netproxy that was killed. */
export async function release(runner: IpRunner): Promise<Step[]> {
  const facts: Facts = await readFacts(runner, '');
  const steps = planRelease(facts);
  await apply(steps, runner);
  return steps;
}

async function reversePathWarnings(runner: IpRunner): Promise<string[]> {
  const [all, valid] = await Promise.all([
    runner.sysctl('ipv4/conf/all/rp_filter'),
    runner.sysctl('ipv4/conf/all/src_valid_mark'),
  ]);
  if (all?.trim() !== '1' || valid?.trim() === '1') return [];
  return [
    'net.ipv4.conf.all.rp_filter is 1 (strict): the kernel may drop the replies of the bastion; set it to 2 from outside the container',
  ];
}
