/**
 * Two layers, each enough alone: a filter and routes. Read, compute, apply; each part is a file of its own.
 *
 * Source addresses: a socket that binds none gets the uplink's address, also on its way to the TUN (see
 * `sourceOf` in desired.ts). rp_filter: replies to marked sockets come in by the
 * uplink, and a strict check (1) looks the sender up without the mark, finds the TUN and drops them,
 * unless src_valid_mark is 1 and the packet carries the mark. Containers start with 0 or 2, for which
 * there is nothing to do; for 1 a warning says so, since /proc/sys is mostly read-only there.
 */
import { NetproxyError } from '../core/errors.ts';
import { apply, applyAtOnce, tablesOf } from './apply.ts';
import { desired } from './desired.ts';
import type { TakeOverInput } from './desired.ts';
import { diff } from './diff.ts';
import { networksOf, readFacts } from './facts.ts';
import type { Facts } from './facts.ts';
import type { NetRunner } from './runner.ts';
import { QUESTION_TABLES, TABLE } from './ids.ts';
import { planRelease } from './release.ts';
import type { Step } from './step.ts';

export interface TakenOver {
  readonly steps: readonly Step[];
  /** Every address that the namespace had before the steps. */
  readonly addresses: ReadonlySet<string>;
  /** `address/prefix` of every device but loopback and the TUN. */
  readonly networks: readonly string[];
  /** Networks that stay on the uplinks. */
  readonly direct: readonly string[];
  /** Sentences for the operator. */
  readonly warnings: readonly string[];
}

/** The steps that `takeOver` would run now. */
export async function planTakeOver(input: TakeOverInput, runner: NetRunner): Promise<Step[]> {
  const facts = await readFacts(runner, input.tun.name);
  return diff(desired(input, facts), facts);
}

/**
 * Leads the namespace's traffic to the TUN, which exists, and lets nothing out beside it. A second call has
 * nothing to do. Where no filter can be had it says so, or with `strict` refuses before anything is changed.
 */
export async function takeOver(input: TakeOverInput, runner: NetRunner): Promise<TakenOver> {
  const [facts, reversePath] = await Promise.all([
    readFacts(runner, input.tun.name),
    reversePathWarnings(runner),
  ]);
  const want = desired(input, facts);
  const steps = diff(want, facts);
  const tables = await applyTables(steps, input, facts, runner);
  const routes = steps.filter(({ tool }) => tool === 'ip');
  await apply(routes, runner);
  return {
    steps: [...tables.steps, ...routes],
    addresses: new Set(facts.links.flatMap((link) => link.addresses.map((text) => text.split('/')[0] ?? ''))),
    networks: networksOf(facts.links, input.tun.name),
    direct: want.direct,
    warnings: [...want.warnings, ...reversePath, ...tables.warnings],
  };
}

type Tabled = Pick<TakenOver, 'steps' | 'warnings'>;

/** The tables come first: nothing is to slip out while the routes are made. */
async function applyTables(
  steps: readonly Step[],
  input: TakeOverInput,
  facts: Facts,
  runner: NetRunner,
): Promise<Tabled> {
  const wanted = input.layers?.includes('nftables') ?? true;
  const { filter } = facts;
  if (wanted && filter.state === 'unusable') {
    if (input.strict === true) throw missing(filter.reason);
    return { steps: [], warnings: [withoutFilter(filter.reason)] };
  }
  const own = steps.filter(({ tool }) => tool === 'nft');
  const told = (reason: string, table: string | undefined): string =>
    table === TABLE ? withoutFilter(reason) : withoutRedirect(reason, table);
  const done: Step[] = [];
  const warnings: string[] = [];
  // Some kernels have nf_tables, but not all of the expressions; with "strict" nothing is left half done.
  for (const table of input.strict === true ? [own] : tablesOf(own)) {
    try {
      await applyAtOnce(table, runner);
      done.push(...table);
    } catch (error) {
      if (!(error instanceof NetproxyError) || error.code !== 'NFT_UNUSABLE') throw error;
      if (input.strict === true) throw missing(error.message);
      warnings.push(told(error.message, table[0]?.table));
    }
  }
  return { steps: done, warnings };
}

function missing(reason: string): NetproxyError {
  return new NetproxyError(
    'NFT_UNUSABLE',
    `the tables of nftables cannot be made, and "strict" is set: ${reason}`,
  );
}

const ASKED_PAST = "resolvers on loopback addresses, such as a container engine's, are asked past netproxy";

function withoutFilter(reason: string): string {
  return `there is no filter beside the routes (${reason}): connections from beyond the link are not answered, ${ASKED_PAST} where they are not redirected, and nothing holds while somebody changes the routes`;
}

function withoutRedirect(reason: string, table: string | undefined): string {
  const family = table === QUESTION_TABLES[4] ? 'IPv4' : 'IPv6';
  return `nothing can be redirected by nftables here, for ${family} (${reason}): ${ASKED_PAST}`;
}

/** Puts back what a takeover changed, also one of a netproxy that was killed. */
export async function release(runner: NetRunner): Promise<Step[]> {
  const facts: Facts = await readFacts(runner, '');
  const steps = planRelease(facts);
  await apply(steps, runner);
  return steps;
}

async function reversePathWarnings(runner: NetRunner): Promise<string[]> {
  const [all, valid] = await Promise.all([
    runner.proc('sys/net/ipv4/conf/all/rp_filter'),
    runner.proc('sys/net/ipv4/conf/all/src_valid_mark'),
  ]);
  if (all?.trim() !== '1' || valid?.trim() === '1') return [];
  return [
    'net.ipv4.conf.all.rp_filter is 1 (strict): the kernel may drop the replies of the bastion; set it to 2 from outside the container',
  ];
}
