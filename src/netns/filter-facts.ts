/** Reads our tables of nftables as they are, from `nft -j list table` (libnftables-json(5)). */
import type { Family } from '../core/flow.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Count, FilterMemory } from './filter.ts';
import { EARLIER_UDP_S, QUESTION_TABLES, TABLE } from './ids.ts';
import { chainSignature, ruleSignature } from './nft-table.ts';
import { NO_TABLE } from './runner.ts';
import type { NetRunner } from './runner.ts';

export type FilterFacts =
  | { readonly state: 'present'; readonly signature: readonly string[]; readonly memory: FilterMemory }
  /** The namespace has no such table. The memory is what its first version starts with. */
  | { readonly state: 'absent'; readonly memory: FilterMemory }
  /** There is no `nft`, or the kernel lacks nf_tables. */
  | { readonly state: 'unusable'; readonly reason: string };

interface Item {
  readonly table?: { readonly flags?: readonly string[] | string };
  readonly chain?: {
    readonly name: string;
    readonly type?: string;
    readonly hook?: string;
    readonly prio?: number;
  };
  readonly rule?: { readonly chain: string; readonly comment?: string };
  readonly counter?: { readonly name: string; readonly packets: number; readonly bytes: number };
  readonly set?: { readonly name: string; readonly elem?: readonly unknown[] };
}

const NONE: Count = { packets: 0, bytes: 0 };

/** Reads the state of the filter. */
export async function readFilter(runner: NetRunner): Promise<FilterFacts> {
  try {
    return parseTable(await readTable(runner, TABLE));
  } catch (error) {
    if (!(error instanceof NetproxyError) || error.code !== 'NFT_UNUSABLE') throw error;
    if (!NO_TABLE.test(error.message)) return { state: 'unusable', reason: error.message };
    return { state: 'absent', memory: { leaked: NONE, refused: NONE, earlier: await portsInUse(runner) } };
  }
}

/** Signature of the table that redirects questions of a family; undefined when there is none, or none can be seen. */
export async function readQuestions(
  runner: NetRunner,
  family: Family,
): Promise<readonly string[] | undefined> {
  try {
    return signatureOf(await readTable(runner, QUESTION_TABLES[family]));
  } catch (error) {
    if (error instanceof NetproxyError && error.code === 'NFT_UNUSABLE') return undefined;
    throw error;
  }
}

async function readTable(runner: NetRunner, table: string): Promise<readonly Item[]> {
  const text = await runner.nft(['-j', 'list', 'table', ...table.split(' ')]);
  return (JSON.parse(text) as { nftables: readonly Item[] }).nftables;
}

function parseTable(items: readonly Item[]): FilterFacts {
  const count = (name: string): Count => {
    const { packets, bytes } = items.find((item) => item.counter?.name === name)?.counter ?? NONE;
    return { packets, bytes };
  };
  const elements = items.find((item) => item.set?.name === 'earlier')?.set?.elem ?? [];
  return {
    state: 'present',
    signature: signatureOf(items),
    memory: {
      leaked: count('leaked'),
      refused: count('refused'),
      earlier: new Map(elements.flatMap(parseElement)),
    },
  };
}

function signatureOf(items: readonly Item[]): readonly string[] {
  // A rule belongs to its chain wherever it is listed.
  const chains = items.flatMap(({ chain }) => (chain === undefined ? [] : [chain]));
  const signature = chains.flatMap((chain) => [
    chainSignature(chain.name, chain.type ?? '', chain.hook ?? '', chain.prio ?? 0),
    ...items
      .filter((item) => item.rule?.chain === chain.name)
      .map((item) => ruleSignature(chain.name, item.rule?.comment ?? '')),
  ]);
  // A dormant table has no hooks.
  return [...items.flatMap((item) => item.table?.flags ?? []), ...signature];
}

function parseElement(element: unknown): [port: number, seconds: number][] {
  if (typeof element === 'number') return [[element, EARLIER_UDP_S]];
  const { val, expires } = (element as { elem?: { val?: unknown; expires?: unknown } }).elem ?? {};
  if (typeof val !== 'number') return [];
  return [[val, typeof expires === 'number' ? Math.max(1, expires) : EARLIER_UDP_S]];
}

/**
 * UDP ports of clients that are older than the table: an answer to one of those is no conversation that
 * begins outside, but conntrack sees nothing of it before. A server's port, which nobody picked at random
 * and which is connected to nobody, is not among them.
 */
async function portsInUse(runner: NetRunner): Promise<ReadonlyMap<number, number>> {
  const [range = '', ...tables] = await Promise.all(
    ['sys/net/ipv4/ip_local_port_range', 'net/udp', 'net/udp6'].map((path) => runner.proc(path)),
  );
  const [first = 0, last = 0] = range.trim().split(/\s+/).map(Number);
  const ports = new Map<number, number>();
  for (const line of tables.flatMap((table) => table?.split('\n').slice(1) ?? [])) {
    // proc_net_tcp(5): "sl local_address:port remote_address:port ...", in hexadecimal
    const [, port, remote] = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+):/.exec(line) ?? [];
    if (port === undefined || remote === undefined) continue;
    const number = Number.parseInt(port, 16);
    if ((number >= first && number <= last) || /[^0]/.test(remote)) ports.set(number, EARLIER_UDP_S);
  }
  return ports;
}
