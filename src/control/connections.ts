/** The flows under way as they are shown: what `GET /v1/connections` answers. */
import type { FlowTuple } from '../core/flow.ts';
import { formatEndpoint } from '../core/address.ts';
import type { FlowEntry } from '../core/flow-table.ts';

/** One flow, for people and scripts. */
export interface Connection {
  readonly id: number;
  readonly protocol: FlowTuple['protocol'];
  readonly state: string;
  readonly from: string;
  readonly to: string;
  /** The name that the application asked for to have the address. */
  readonly name?: string | undefined;
  readonly uid?: number | undefined;
  readonly pid?: number | undefined;
  readonly process?: string | undefined;
  /** What was decided: the bastion or group, or another way. */
  readonly verdict: string;
  /** The bastion that carries it. */
  readonly bastion?: string | undefined;
  /** Where the rule stands, and the rule in words. */
  readonly rule: string;
  readonly ruleText: string;
  readonly ageSeconds: number;
  readonly openMs?: number | undefined;
  readonly bytesOut: number;
  readonly bytesIn: number;
}

export interface Connections {
  /** Of all, also those that are not listed. */
  readonly total: number;
  readonly connections: readonly Connection[];
}

type Key = (connection: Connection) => number | string;

/** By what can be sorted. Numbers come with the largest first, words in their order. */
export const SORT_KEYS: Readonly<Record<string, Key>> = {
  age: ({ ageSeconds }) => ageSeconds,
  bytes: ({ bytesOut, bytesIn }) => bytesOut + bytesIn,
  out: ({ bytesOut }) => bytesOut,
  in: ({ bytesIn }) => bytesIn,
  open: ({ openMs }) => openMs ?? -1,
  to: ({ to }) => to,
  name: ({ name }) => name ?? '',
  uid: ({ uid }) => uid ?? -1,
  bastion: ({ bastion, verdict }) => bastion ?? verdict,
  rule: ({ rule }) => rule,
  state: ({ state }) => state,
};

const MS_PER_S = 1000;
const ROUNDING = 100;

const rounded = (value: number): number => Math.round(value * ROUNDING) / ROUNDING;

/** A flow as it is at `now`, in milliseconds of the table's clock. */
export function connectionOf({ id, flow, name, owner, startedAt }: FlowEntry, now: number): Connection {
  const { tuple, decision, state, bastion, openMs } = flow;
  return {
    id,
    protocol: tuple.protocol,
    state,
    from: formatEndpoint(tuple.source),
    to: formatEndpoint(tuple.destination),
    ...{ name, uid: owner?.uid, pid: owner?.pid, process: owner?.process?.[0] },
    verdict: decision.upstream ?? decision.kind,
    bastion,
    rule: decision.rule.where === 'built-in' ? decision.rule.text : decision.rule.where,
    ruleText: decision.rule.text,
    ageSeconds: rounded((now - startedAt) / MS_PER_S),
    openMs: openMs === undefined ? undefined : rounded(openMs),
    bytesOut: flow.bytesOut,
    bytesIn: flow.bytesIn,
  };
}

/** The first `limit` flows by `sort`. */
export function listConnections(
  entries: Iterable<FlowEntry>,
  now: number,
  { sort = 'age', limit }: { readonly sort?: string; readonly limit: number },
): Connections {
  const all = Array.from(entries, (entry) => connectionOf(entry, now));
  const key = SORT_KEYS[sort] ?? SORT_KEYS['age']!;
  all.sort((one, other) => compare(key(one), key(other)));
  return { total: all.length, connections: all.slice(0, limit) };
}

function compare(one: number | string, other: number | string): number {
  if (typeof one === 'number' && typeof other === 'number') return other - one;
  return String(one) < String(other) ? -1 : String(one) > String(other) ? 1 : 0;
}
