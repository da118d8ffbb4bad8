/** What operators see of a run and do to it: flows and their log, status, the control interface. */
import type { Config } from '../config/config.ts';
import { FlowTable } from '../core/flow-table.ts';
import type { EndedFlow, FlowTableOptions } from '../core/flow-table.ts';
import type { LeveledLog } from '../core/logger.ts';
import type { RecentLines } from '../core/recent-lines.ts';
import { FlowLog } from './flow-log.ts';
import { Health } from './health.ts';
import type { Collected, Counters } from './metrics/collect.ts';
import { Metrics } from './metrics/metrics.ts';
import { ControlServer } from './server.ts';
import { socketPaths } from './socket-path.ts';

/** What a run tells of its parts, asked whenever somebody asks. */
export interface Told {
  upstreams(): readonly UpstreamTold[];
  /** What is known of far ends, by bastion or group. */
  farEnds(): Readonly<Record<string, FarEndTold>>;
  /** Packets that left although they may not, and that were refused; undefined where nothing counts them. */
  filter(): Promise<Collected['filter']>;
  counters(): Counters;
  /** The effective configuration, without secrets. */
  config(): object;
}

/** What was not asked for yet is undefined. */
export interface FarEndTold {
  readonly ipv4?: boolean | undefined;
  readonly ipv6?: boolean | undefined;
  readonly resolver?: string | undefined;
}

/** A bastion as it is now. */
export interface UpstreamTold {
  readonly name: string;
  readonly state: string;
  readonly reason: string;
  readonly connections: number;
  readonly channels: number;
  readonly connects: number;
  readonly losses: number;
  readonly roundTripMs?: number | undefined;
  readonly farEnd: {
    readonly server?: string;
    readonly forwarding?: boolean | undefined;
    readonly commands?: boolean | undefined;
  };
  readonly traffic: readonly TrafficTold[];
}

/** One SSH connection; `sent` and `received` are bytes of its socket, `queued` those that wait for it. */
export interface TrafficTold {
  /** Given again when it has ended. */
  readonly number: number;
  readonly sent: number;
  readonly received: number;
  readonly queued: number;
  readonly channels: number;
  readonly opensWaiting: number;
}

export interface OperationsOptions extends Pick<FlowTableOptions, 'now' | 'nameOf' | 'ownerOf'> {
  readonly config: Config;
  readonly log: LeveledLog;
  readonly recent: RecentLines;
  readonly version: string;
  readonly told: Told;
}

const MS_PER_S = 1000;

export class Operations {
  readonly health: Health;
  readonly flows: FlowTable;
  readonly #options: OperationsOptions;
  readonly metrics: Metrics;
  readonly #flowLog: FlowLog;
  readonly #control: ControlServer;
  readonly #startedAt: number;

  constructor(options: OperationsOptions) {
    const { config, log, recent, now, nameOf, ownerOf, told } = options;
    this.#options = options;
    this.#startedAt = now();
    this.health = new Health(now);
    this.#flowLog = new FlowLog(log, recent, config.log.flows);
    this.metrics = new Metrics(async () => ({
      ...{ version: options.version, health: this.health, flows: this.flows },
      ...{ bastions: told.upstreams(), counters: told.counters(), filter: await told.filter() },
    }));
    const ended = (flow: EndedFlow): void => {
      this.metrics.ended(flow);
      this.#flowLog.write(flow);
    };
    this.flows = new FlowTable({ now, nameOf, ownerOf, ended });
    this.#control = new ControlServer(
      {
        ...{ health: this.health, flows: this.flows, recent, now },
        status: () => this.#status(),
        config: () => told.config(),
        metrics: () => this.metrics.text(),
      },
      log,
    );
    this.#control.useToken(config.control.token);
  }

  /** Opens the control interface; `number` is as of `socketPaths`. Throws CONTROL_UNAVAILABLE. */
  async listen(number: string | undefined): Promise<void> {
    const { socket, listen } = this.#options.config.control;
    await this.#control.listen(await socketPaths(socket, number));
    if (listen !== undefined) await this.#control.listenTcp(listen);
  }

  /** Takes over what may change while it runs. */
  follow({ log, control }: Config): void {
    this.#flowLog.logging = log.flows;
    this.#control.useToken(control.token);
  }

  async close(): Promise<void> {
    this.metrics.close();
    await this.#control.close();
  }

  async #status(): Promise<object> {
    const { version, now, told } = this.#options;
    return {
      version,
      uptimeSeconds: Math.round((now() - this.#startedAt) / MS_PER_S),
      ready: this.health.ready,
      conditions: this.health.conditions(),
      bastions: told.upstreams(),
      farEnds: told.farEnds(),
      flows: this.flows.size,
      leakedPackets: (await told.filter())?.leaked,
    };
  }
}
