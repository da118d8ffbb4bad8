/** Every metric, from which docs/metrics.md and what `/metrics` answers follow. Names are stable once released. */

import { counter, gauge, histogram } from '../../core/exposition.ts';
import type { MetricRow } from '../../core/exposition.ts';

/** Seconds: a connect by a bastion next door, and one that waits for a bastion to come back. */
export const OPEN_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

const SINCE = 'Observed from the first scrape on.';

export const METRICS: Readonly<Record<string, MetricRow>> = {
  netproxy_info: gauge('Always 1; the version is a label.', 'version'),
  netproxy_ready: gauge('1 when all conditions of readiness hold.'),
  netproxy_condition: gauge('1 when this condition of readiness holds.', 'condition'),
  netproxy_flows: gauge('Flows under way.', 'protocol', 'state'),
  netproxy_flows_total: counter(
    'Flows that are over, by what was decided, the place of the rule, the bastion and the result.',
    ...['protocol', 'verdict', 'rule', 'bastion', 'result'],
  ),
  netproxy_bytes_total: counter(
    'Bytes from the application (out) and to it (in), of open flows too; direct flows have the bastion "direct", datagrams by a group that group.',
    ...['bastion', 'direction'],
  ),
  netproxy_open_seconds: histogram(
    `From a SYN to the answer of the far end, of flows that opened. ${SINCE}`,
    'bastion',
  ),
  netproxy_round_trip_seconds: histogram(`Round trips of keepalives to the bastion. ${SINCE}`, 'bastion'),
  netproxy_bastion_up: gauge('1 when the bastion is connected.', 'bastion'),
  netproxy_bastion_connections: gauge('SSH connections in use for new flows.', 'bastion'),
  netproxy_bastion_channels: gauge('Channels and opens under way.', 'bastion'),
  netproxy_bastion_connects_total: counter(
    'Times that the bastion was connected, the first one too.',
    'bastion',
  ),
  netproxy_bastion_losses_total: counter(
    'Times that the last connection to the bastion was lost.',
    'bastion',
  ),
  netproxy_connection_bytes_total: counter(
    'Bytes of the socket of one SSH connection, to the bastion (out) and from it (in), since it was connected.',
    ...['bastion', 'connection', 'direction'],
  ),
  netproxy_connection_queue_bytes: gauge(
    'Bytes that wait for the socket of one SSH connection.',
    ...['bastion', 'connection'],
  ),
  netproxy_connection_channels: gauge(
    'Channels and opens under way on one SSH connection.',
    ...['bastion', 'connection'],
  ),
  netproxy_connection_opens_waiting: gauge(
    'Opens among them that wait for their turn.',
    ...['bastion', 'connection'],
  ),
  netproxy_queue_depth: gauge(
    'What waits: connects for their answer (connects), questions to resolvers (dns).',
    'queue',
  ),
  netproxy_queue_bytes: gauge(
    'Bytes that wait: from applications for the bastions (received), questions to resolvers (dns).',
    'queue',
  ),
  netproxy_slabs: gauge('Buffers of packets in use, of 256.'),
  netproxy_blocks: gauge('Blocks in use that hold bytes for applications.'),
  netproxy_dropped_total: counter('What was dropped at a bound; docs/limits.md has each.', 'what'),
  netproxy_packets_total: counter('Packets read from the TUN (out) and written to it (in).', 'direction'),
  netproxy_retransmits_total: counter('Segments that were sent to applications again.'),
  netproxy_dns_questions_total: counter('Questions to resolvers that were taken.'),
  netproxy_dns_answers_total: counter(
    'Questions by where their answer came from: local, far, cache, stale, and merged with the same question.',
    'source',
  ),
  netproxy_dns_failed_total: counter(
    'Questions without an answer (failed), and over a bound (refused).',
    'reason',
  ),
  netproxy_dns_cache_entries: gauge('Answers that are kept.'),
  netproxy_relay_datagrams_total: counter('Datagrams by the relay.', 'upstream', 'direction'),
  netproxy_relay_dropped_total: counter('Datagrams that the relay dropped, on this side.', 'upstream'),
  netproxy_leaked_packets_total: counter(
    'Packets that left although they may not. Absent without the filter.',
  ),
  netproxy_refused_packets_total: counter('Packets that the filter refused. Absent without the filter.'),
  netproxy_event_loop_delay_seconds: gauge(
    'How late JavaScript runs, between two scrapes: percentiles 50, 99 and 100.',
    'percentile',
  ),
  process_resident_memory_bytes: gauge('Resident memory.'),
  process_cpu_seconds_total: counter('Processor time, of user and system.'),
  process_start_time_seconds: gauge('Start of the process, in seconds since 1970.'),
};
