/** The text format of Prometheus, by prom-client: of that only the parts that are needed, 3 MB instead of 17. */
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricRow {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
}

/** Rows of a table of metrics. */
export const gauge = (help: string, ...labels: string[]): MetricRow => ({ type: 'gauge', labels, help });
export const counter = (help: string, ...labels: string[]): MetricRow => ({ type: 'counter', labels, help });
export const histogram = (help: string, ...labels: string[]): MetricRow => ({
  ...{ type: 'histogram', labels, help },
});

export type Labels = Readonly<Record<string, string>>;

/** One value of a metric. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface Exposition {
  /** Adds to a histogram. */
  observe(name: string, labels: Labels, value: number): void;
  /** Adds to a counter. */
  count(name: string, labels: Labels, value: number): void;
  /** What was added, and these values in the place of those before. */
  text(samples: Readonly<Record<string, readonly Sample[]>>): Promise<string>;
}

type Made<T> = new (options: object) => T;

/** Loads the library. */
export function openExposition(
  require: NodeJS.Require,
  table: Readonly<Record<string, MetricRow>>,
  buckets: readonly number[],
): Exposition {
  const part = <T>(name: string): Made<T> => require(`prom-client/lib/${name}.js`) as Made<T>;
  const RegistryPart = require('prom-client/lib/registry.js') as new () => Registry;
  const registry = new RegistryPart();
  const parts = {
    counter: part<Counter>('counter'),
    gauge: part<Gauge>('gauge'),
    histogram: part<Histogram>('histogram'),
  };
  const made = new Map<string, Counter | Gauge | Histogram>();
  for (const [name, { type, labels: labelNames, help }] of Object.entries(table)) {
    const own = type === 'histogram' ? { buckets } : {};
    made.set(name, new parts[type]({ name, help, labelNames, registers: [registry], ...own }));
  }
  return {
    observe: (name, labels, value) => (made.get(name) as Histogram).observe(labels, value),
    count: (name, labels, value) => (made.get(name) as Counter).inc(labels, value),
    text: async (samples) => {
      for (const [name, values] of Object.entries(samples)) {
        const metric = made.get(name) as Counter | Gauge;
        metric.reset();
        // Without labels it stands at 0 now; what is not known is not to be claimed.
        if (values.length === 0 && table[name]?.labels.length === 0) metric.remove();
        for (const { labels, value } of values) metric.inc(labels, value);
      }
      return registry.metrics();
    },
  };
}
