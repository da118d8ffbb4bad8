/** Metrics of the injector, from which the table of docs/injector.md follows. Names are stable once released. */
import { createRequire } from 'node:module';
import { counter, gauge, histogram, openExposition } from '../core/exposition.ts';
import type { Exposition, MetricRow, Sample } from '../core/exposition.ts';
import type { Condition } from './probes.ts';

/** Seconds: an admission takes a millisecond or two, and the API server gives up after 10 s. */
const BUCKETS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

export const INJECTOR_METRICS: Readonly<Record<string, MetricRow>> = {
  netproxy_injector_info: gauge('Always 1; the version is a label.', 'version'),
  netproxy_injector_condition: gauge('1 when this condition of readiness holds.', 'condition'),
  netproxy_injector_admissions_total: counter(
    'Answers by result (injected, unchanged, skipped, refused, unavailable) and profile, which is empty where there is none of that name.',
    ...['result', 'profile'],
  ),
  netproxy_injector_admission_seconds: histogram('From the head of a request to its answer.', 'result'),
  netproxy_injector_bad_requests_total: counter('Requests that were no review, by status of HTTP.', 'status'),
  netproxy_injector_certificate_end_timestamp_seconds: gauge(
    'End of the certificate that is served, in seconds since 1970. Absent while there is none.',
  ),
  netproxy_injector_certificates_made_total: counter('Certificates that this replica made.'),
  netproxy_injector_profiles: gauge('Profiles in use.'),
  netproxy_injector_profiles_broken: gauge(
    'Profiles whose file is wrong as it stands; those that were right before are used on.',
  ),
  netproxy_injector_networks: gauge('Networks of the cluster that pods reach directly.'),
  netproxy_injector_sync_failures_total: counter(
    'Looks at the Secret, the webhook configuration or the files of the certificate that failed.',
  ),
  process_resident_memory_bytes: gauge('Resident memory.'),
  process_cpu_seconds_total: counter('Processor time, of user and system.'),
  process_start_time_seconds: gauge('Start of the process, in seconds since 1970.'),
};

const MICROSECONDS = 1e6;
const MS_PER_S = 1000;

export interface Gauges {
  readonly version: string;
  readonly conditions: readonly Condition[];
  /** Milliseconds since 1970. */
  readonly notAfter: number | undefined;
  readonly certificatesMade: number;
  readonly profiles: number;
  readonly broken: number;
  readonly networks: number;
}

export class InjectorMetrics {
  readonly #exposition: Exposition = openExposition(
    createRequire(import.meta.url),
    INJECTOR_METRICS,
    BUCKETS,
  );

  constructor() {
    this.#exposition.count('netproxy_injector_sync_failures_total', {}, 0);
  }

  /** An answer was given after so many milliseconds; `profile` is one that there is, or empty. */
  admitted(result: string, profile: string, ms: number): void {
    this.#exposition.count('netproxy_injector_admissions_total', { result, profile }, 1);
    this.#exposition.observe('netproxy_injector_admission_seconds', { result }, ms / MS_PER_S);
  }

  bad(status: number): void {
    this.#exposition.count('netproxy_injector_bad_requests_total', { status: String(status) }, 1);
  }

  syncFailed(): void {
    this.#exposition.count('netproxy_injector_sync_failures_total', {}, 1);
  }

  text(from: Gauges): Promise<string> {
    const one = (value: number): readonly Sample[] => [{ labels: {}, value }];
    const { user, system } = process.cpuUsage();
    return this.#exposition.text({
      netproxy_injector_info: [{ labels: { version: from.version }, value: 1 }],
      netproxy_injector_condition: from.conditions.map(({ name, problem }) => ({
        labels: { condition: name },
        value: Number(problem === undefined),
      })),
      netproxy_injector_certificate_end_timestamp_seconds:
        from.notAfter === undefined ? [] : one(from.notAfter / MS_PER_S),
      netproxy_injector_certificates_made_total: one(from.certificatesMade),
      netproxy_injector_profiles: one(from.profiles),
      netproxy_injector_profiles_broken: one(from.broken),
      netproxy_injector_networks: one(from.networks),
      process_resident_memory_bytes: one(process.memoryUsage.rss()),
      process_cpu_seconds_total: one((user + system) / MICROSECONDS),
      process_start_time_seconds: one(performance.timeOrigin / MS_PER_S),
    });
  }
}
