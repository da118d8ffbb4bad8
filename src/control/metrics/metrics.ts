/**
 * The metrics of a run. What flows leave behind is counted here at all times; the library that writes the text,
 * histograms and the delay of the event loop begin with the first scrape, for who never scrapes pays for none.
 */
import { createRequire } from 'node:module';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { EndedFlow } from '../../core/flow-table.ts';
import { LOOP_DELAY_SAMPLE_MS } from '../../core/limits.ts';
import { carrierOf, collect, countBytes } from './collect.ts';
import type { Collected } from './collect.ts';
import { openExposition } from '../../core/exposition.ts';
import type { Exposition } from '../../core/exposition.ts';
import { METRICS, OPEN_BUCKETS } from './table.ts';
import { Tally } from './tally.ts';

/** What is asked for at each scrape. */
export type Sources = () => Promise<Omit<Collected, 'ended' | 'endedBytes' | 'loopDelay'>>;

type LoopDelay = ReturnType<typeof monitorEventLoopDelay>;

const MS_PER_S = 1000;
const NS_PER_S = 1e9;
const PERCENTILES: readonly number[] = [50, 99, 100];

export class Metrics {
  readonly #sources: Sources;
  readonly #ended = new Tally(['rule', 'bastion']);
  readonly #bytes = new Tally(['bastion']);
  #exposition: Exposition | undefined;
  #delay: LoopDelay | undefined;
  /** Shared by all who ask at once: each scrape asks the kernel for the filter's counters. */
  #running: Promise<string> | undefined;

  constructor(sources: Sources) {
    this.#sources = sources;
  }

  /** A flow is over. */
  ended({ flow, result }: EndedFlow): void {
    const { decision, tuple, openMs } = flow;
    const bastion = carrierOf(flow);
    const { where, text } = decision.rule;
    const rule = where === 'built-in' ? text : where;
    this.#ended.add({ protocol: tuple.protocol, verdict: decision.kind, rule, bastion, result }, 1);
    countBytes(this.#bytes, flow);
    if (openMs !== undefined)
      this.#exposition?.observe('netproxy_open_seconds', { bastion }, openMs / MS_PER_S);
  }

  /** A keepalive was answered. */
  roundTrip(bastion: string, ms: number): void {
    this.#exposition?.observe('netproxy_round_trip_seconds', { bastion }, ms / MS_PER_S);
  }

  /** All metrics in the text format of Prometheus. */
  text(): Promise<string> {
    this.#running ??= this.#text().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  close(): void {
    this.#delay?.disable();
  }

  async #text(): Promise<string> {
    this.#exposition ??= openExposition(createRequire(import.meta.url), METRICS, OPEN_BUCKETS);
    if (this.#delay === undefined) {
      this.#delay = monitorEventLoopDelay({ resolution: LOOP_DELAY_SAMPLE_MS });
      this.#delay.enable();
    }
    const sources = await this.#sources();
    const samples = collect({
      ...sources,
      ...{ ended: this.#ended, endedBytes: this.#bytes, loopDelay: this.#loopDelay(this.#delay) },
    });
    return this.#exposition.text(samples);
  }

  /** The samples hold the time between them too. */
  #loopDelay(delay: LoopDelay): Readonly<Record<string, number>> {
    const resolution = LOOP_DELAY_SAMPLE_MS / MS_PER_S;
    const late = (percentile: number): number =>
      delay.count === 0 ? 0 : Math.max(delay.percentile(percentile) / NS_PER_S - resolution, 0);
    const told = Object.fromEntries(PERCENTILES.map((percentile) => [percentile, late(percentile)]));
    delay.reset();
    return told;
  }
}
