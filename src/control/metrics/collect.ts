/** What the parts tell, as values of the metrics of table.ts. */
import type { FlowTable } from '../../core/flow-table.ts';
import type { Health } from '../health.ts';
import type { TrafficTold } from '../operations.ts';
import type { Labels, Sample } from '../../core/exposition.ts';
import { Tally } from './tally.ts';

/** Counters of the parts, under the names that they have in the state that SIGUSR2 has logged. */
export interface Counters {
  readonly engine: Readonly<Record<string, number>>;
  readonly dns: {
    readonly asked: number;
    readonly local: number;
    readonly far: number;
    readonly cached: number;
    readonly stale: number;
    readonly merged: number;
    readonly failed: number;
    readonly refused: number;
    readonly waiting: number;
    readonly waitingBytes: number;
    readonly cacheEntries: number;
  };
  readonly relays: readonly {
    readonly upstream: string;
    readonly sent: number;
    readonly received: number;
    readonly dropped: number;
  }[];
  readonly udpEvicted: number;
}

export interface Collected {
  readonly version: string;
  readonly health: Health;
  readonly flows: FlowTable;
  readonly bastions: readonly {
    readonly name: string;
    readonly state: string;
    readonly connections: number;
    readonly channels: number;
    readonly connects: number;
    readonly losses: number;
    readonly traffic: readonly TrafficTold[];
  }[];
  readonly counters: Counters;
  readonly filter: { readonly leaked: number; readonly refused: number } | undefined;
  /** Of flows that are over. */
  readonly ended: Tally;
  readonly endedBytes: Tally;
  /** Seconds, by percentile. */
  readonly loopDelay: Readonly<Record<string, number>>;
}

type Samples = Readonly<Record<string, readonly Sample[]>>;

const one = (value: number): readonly Sample[] => [{ labels: {}, value }];
const by = (label: string, values: Readonly<Record<string, number>>): readonly Sample[] =>
  Object.entries(values).map(([name, value]) => ({ labels: { [label]: name }, value }));

const MICROSECONDS = 1e6;
const MS_PER_S = 1000;

/** Every metric but the histograms. */
export function collect(from: Collected): Samples {
  const { engine, dns } = from.counters;
  const count = (name: string): number => engine[name] ?? 0;
  const { user, system } = process.cpuUsage();
  return {
    netproxy_info: [{ labels: { version: from.version }, value: 1 }],
    netproxy_ready: one(Number(from.health.ready)),
    netproxy_condition: by(
      'condition',
      Object.fromEntries(from.health.conditions().map(({ name, ok }) => [name, Number(ok)])),
    ),
    ...flowSamples(from),
    ...bastionSamples(from.bastions),
    netproxy_queue_depth: by('queue', { connects: count('pendingDials'), dns: dns.waiting }),
    netproxy_queue_bytes: by('queue', { received: count('receivedBytes'), dns: dns.waitingBytes }),
    netproxy_slabs: one(count('slabsInUse')),
    netproxy_blocks: one(count('blocksInUse')),
    netproxy_dropped_total: by('what', {
      syns: count('synsDropped'),
      'syns to one target': count('synsDroppedTarget'),
      'segments over the budget': count('overBudget'),
      'resets and errors': count('controlDropped'),
      datagrams: count('droppedDatagrams'),
      fragments: count('reassemblyExpired'),
      'UDP flows': from.counters.udpEvicted,
    }),
    netproxy_packets_total: by('direction', { out: count('packetsIn'), in: count('packetsOut') }),
    netproxy_retransmits_total: one(count('retransmits')),
    netproxy_dns_questions_total: one(dns.asked),
    netproxy_dns_answers_total: by('source', {
      ...{ local: dns.local, far: dns.far, cache: dns.cached, stale: dns.stale, merged: dns.merged },
    }),
    netproxy_dns_failed_total: by('reason', { failed: dns.failed, refused: dns.refused }),
    netproxy_dns_cache_entries: one(dns.cacheEntries),
    netproxy_relay_datagrams_total: from.counters.relays.flatMap(({ upstream, sent, received }) => [
      { labels: { upstream, direction: 'out' }, value: sent },
      { labels: { upstream, direction: 'in' }, value: received },
    ]),
    netproxy_relay_dropped_total: from.counters.relays.map(({ upstream, dropped }) => ({
      ...{ labels: { upstream }, value: dropped },
    })),
    netproxy_leaked_packets_total: from.filter === undefined ? [] : one(from.filter.leaked),
    netproxy_refused_packets_total: from.filter === undefined ? [] : one(from.filter.refused),
    netproxy_event_loop_delay_seconds: by('percentile', from.loopDelay),
    process_resident_memory_bytes: one(process.memoryUsage.rss()),
    process_cpu_seconds_total: one((user + system) / MICROSECONDS),
    process_start_time_seconds: one(performance.timeOrigin / MS_PER_S),
  };
}

function flowSamples({ flows, ended, endedBytes }: Collected): Samples {
  const live = new Tally([]);
  const bytes = endedBytes.copy();
  for (const { flow } of flows.entries()) {
    live.add({ protocol: flow.tuple.protocol, state: flow.state }, 1);
    countBytes(bytes, flow);
  }
  return {
    netproxy_flows: live.samples,
    netproxy_flows_total: ended.samples,
    netproxy_bytes_total: bytes.samples,
  };
}

interface Carried {
  readonly tuple: { readonly protocol: string };
  readonly decision: { readonly kind: string; readonly upstream?: string };
  readonly bastion: string | undefined;
  readonly bytesOut: number;
  readonly bytesIn: number;
}

/**
 * The bastion that carried a flow; where none did, the group that was to, or the way past all of them. A flow of
 * datagrams may move between the bastions of its group, and no counter may fall: it counts for the group.
 */
export function carrierOf({ tuple, decision, bastion }: Omit<Carried, 'bytesOut' | 'bytesIn'>): string {
  return (tuple.protocol === 'tcp' ? bastion : undefined) ?? decision.upstream ?? decision.kind;
}

/** Adds what a flow has carried so far. */
export function countBytes(bytes: Tally, flow: Carried): void {
  const bastion = carrierOf(flow);
  if (flow.bytesOut > 0) bytes.add({ bastion, direction: 'out' }, flow.bytesOut);
  if (flow.bytesIn > 0) bytes.add({ bastion, direction: 'in' }, flow.bytesIn);
}

function bastionSamples(bastions: Collected['bastions']): Samples {
  const each = (of: (bastion: Collected['bastions'][number]) => number): readonly Sample[] =>
    bastions.map((bastion) => ({ labels: { bastion: bastion.name } satisfies Labels, value: of(bastion) }));
  return {
    netproxy_bastion_up: each(({ state }) => Number(state === 'ready')),
    netproxy_bastion_connections: each(({ connections }) => connections),
    netproxy_bastion_channels: each(({ channels }) => channels),
    netproxy_bastion_connects_total: each(({ connects }) => connects),
    netproxy_bastion_losses_total: each(({ losses }) => losses),
    ...connectionSamples(bastions),
  };
}

function connectionSamples(bastions: Collected['bastions']): Samples {
  const all = bastions.flatMap(({ name, traffic }) =>
    traffic.map((one) => ({ one, labels: { bastion: name, connection: String(one.number) } })),
  );
  return {
    netproxy_connection_bytes_total: all.flatMap(({ one, labels }) => [
      { labels: { ...labels, direction: 'out' }, value: one.sent },
      { labels: { ...labels, direction: 'in' }, value: one.received },
    ]),
    netproxy_connection_queue_bytes: all.map(({ one, labels }) => ({ labels, value: one.queued })),
    netproxy_connection_channels: all.map(({ one, labels }) => ({ labels, value: one.channels })),
    netproxy_connection_opens_waiting: all.map(({ one, labels }) => ({ labels, value: one.opensWaiting })),
  };
}
