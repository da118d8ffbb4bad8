/** What is measured, and what is to be reached. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Load, measure, PORTS } from './load.ts';
import { ruleCosts } from './rules.ts';
import type { Running } from './running.ts';

const MEGA = 1e6;
const GIGA = 1e9;
const WARMUP_S = 0.5;
const ECHO_BYTES = 64;
const ECHO_COUNT = 5000;
const MANY_FLOWS = 8;
const IDLE_FLOWS = 1000;
const CLOSED_CONNECTS = 20;
const RULES = 10_000;
/** Milliseconds until memory is read, so that what the start allocated has been collected. */
const SETTLE_MS = 1000;
/** `getconf CLK_TCK` on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** A bound of ours: a multiple of what `ssh -L` has, a value, or a multiple of another figure of ours. */
export type Target =
  | { readonly ratio: number }
  | { readonly value: number }
  | { readonly of: string; readonly times: number };

export interface Figure {
  readonly title: string;
  readonly unit: string;
  readonly target?: Target;
  readonly better: 'higher' | 'lower';
}

const higher = (title: string, unit: string, target?: Target): Figure =>
  target === undefined ? { title, unit, better: 'higher' } : { title, unit, better: 'higher', target };
const lower = (title: string, unit: string, target?: Target): Figure =>
  target === undefined ? { title, unit, better: 'lower' } : { title, unit, better: 'lower', target };

export const FIGURES = {
  up: higher('upload, 1 flow', 'MB/s', { ratio: 1.2 }),
  upCpu: lower('upload, CPU of the client', 's/GB'),
  down: higher('download, 1 flow', 'MB/s', { ratio: 1.1 }),
  downCpu: lower('download, CPU of the client', 's/GB', { ratio: 1.2 }),
  up8: higher('upload, 8 flows, sum', 'MB/s', { of: 'up', times: 1 }),
  up8Fair: higher('upload, 8 flows, slowest / mean', '', { value: 0.6 }),
  down8: higher('download, 8 flows, sum', 'MB/s', { of: 'down', times: 1 }),
  down8Fair: higher('download, 8 flows, slowest / mean', '', { value: 0.6 }),
  rate1: higher('new connections, one after another', '1/s', { ratio: 0.7 }),
  rate50: higher('new connections, 50 at once', '1/s', { ratio: 0.9 }),
  echoP50: lower('echo, p50', 'us', { ratio: 1.3 }),
  echoP99: lower('echo, p99', 'us', { ratio: 2 }),
  echoUpP50: lower('echo beside an upload, p50', 'us', { ratio: 1.2 }),
  echoUpP99: lower('echo beside an upload, p99', 'us'),
  echoDownP50: lower('echo beside a download, p50', 'us', { ratio: 1.2 }),
  echoDownP99: lower('echo beside a download, p99', 'us'),
  truth: higher('connects to a closed port that are refused', '%', { value: 100 }),
  start: lower('start to first byte', 's', { value: 1 }),
  rss: lower('memory when idle (RSS)', 'MB', { value: 80 }),
  rss1000: lower('memory with 1,000 idle flows', 'MB', { value: 100 }),
  localUp: higher('local half alone, upload', 'MB/s', { value: 3000 }),
  localUpCpu: lower('local half alone, upload, CPU', 's/GB', { value: 0.4 }),
  localDown: higher('local half alone, download', 'MB/s', { value: 3000 }),
  localDownCpu: lower('local half alone, download, CPU', 's/GB', { value: 0.4 }),
  rules: lower('decision among 10,000 rules, the costliest of 6 kinds', 'us', { value: 5 }),
  rtt20Down: higher('download, 20 ms round trip', 'MB/s', { ratio: 2.5 }),
  rtt20Connect: lower('connect and 1 echo, 20 ms, p50', 'round trips', { value: 2.5 }),
  rtt20ConnectP99: lower('connect and 1 echo, 20 ms, p99', 'round trips', { value: 2.9 }),
  rtt100Down: higher('download, 100 ms round trip', 'MB/s', { ratio: 2.5 }),
  rtt100Connect: lower('connect and 1 echo, 100 ms, p50', 'round trips', { value: 2.5 }),
} as const satisfies Record<string, Figure>;

export type FigureId = keyof typeof FIGURES;
export type Values = Partial<Record<FigureId, number>>;

export interface Context {
  readonly running: Running;
  readonly seconds: number;
}

/**
 * The state a measurement finds its subject in: `warm` has been started once for all rounds, `fresh`
 * for this measurement alone; `local` is the local half in place of all subjects; the others like `warm` behind
 * a relay with that round trip.
 */
export type Phase = 'warm' | 'fresh' | 'local' | 'rtt20' | 'rtt100';

export const RTT_MS: Readonly<Record<Phase, number>> = {
  warm: 0,
  fresh: 0,
  local: 0,
  rtt20: 20,
  rtt100: 100,
};

export interface Measurement {
  readonly name: string;
  readonly phase: Phase;
  run(context: Context): Promise<Values>;
}

interface Transfer {
  readonly sum: number;
  readonly fairness: number;
  readonly cpu: number;
}
interface EchoResult {
  readonly p50_us: number;
  readonly p99_us: number;
}
interface RateResult {
  readonly seconds: number;
  readonly done: number;
  readonly failed: number;
  readonly p50_us: number;
  readonly p99_us: number;
}

export const MEASUREMENTS: readonly Measurement[] = [
  {
    name: 'upload',
    phase: 'warm',
    async run(context) {
      const { sum, cpu } = await transfer(context, 'up', 1);
      return { up: sum, upCpu: cpu };
    },
  },
  {
    name: 'download',
    phase: 'warm',
    async run(context) {
      const { sum, cpu } = await transfer(context, 'down', 1);
      return { down: sum, downCpu: cpu };
    },
  },
  {
    name: 'flows',
    phase: 'warm',
    async run(context) {
      const up = await transfer(context, 'up', MANY_FLOWS);
      const down = await transfer(context, 'down', MANY_FLOWS);
      return { up8: up.sum, up8Fair: up.fairness, down8: down.sum, down8Fair: down.fairness };
    },
  },
  {
    name: 'rate',
    phase: 'warm',
    async run(context) {
      return { rate1: await rate(context, 1), rate50: await rate(context, 50) };
    },
  },
  {
    name: 'echo',
    phase: 'warm',
    async run(context) {
      const { p50_us, p99_us } = await echo(context, context.seconds * 5);
      return { echoP50: p50_us, echoP99: p99_us };
    },
  },
  {
    name: 'echo-beside',
    phase: 'warm',
    async run(context) {
      const up = await beside(context, 'up');
      const down = await beside(context, 'down');
      return {
        echoUpP50: up.p50_us,
        echoUpP99: up.p99_us,
        echoDownP50: down.p50_us,
        echoDownP99: down.p99_us,
      };
    },
  },
  {
    name: 'rules',
    phase: 'local',
    run() {
      return Promise.resolve({ rules: Math.max(...ruleCosts(RULES).map(({ us }) => us)) });
    },
  },
  {
    name: 'truth',
    phase: 'warm',
    async run(context) {
      const { address, port } = context.running.entry(PORTS.closed);
      const args = ['refused', address, port, CLOSED_CONNECTS];
      const { refused } = await measure<{ refused: number }>(context.running.host, args);
      return { truth: (100 * refused) / CLOSED_CONNECTS };
    },
  },
  {
    name: 'start',
    phase: 'fresh',
    async run({ running }) {
      return { start: running.startSeconds };
    },
  },
  {
    name: 'memory',
    phase: 'fresh',
    async run(context) {
      await sleep(SETTLE_MS);
      const before = rss(context.running);
      const { address, port } = context.running.entry(PORTS.echo);
      const idle = new Load(context.running.host, ['idle', address, port, IDLE_FLOWS]);
      try {
        await idle.line();
        await sleep(SETTLE_MS);
        return { rss: before, rss1000: rss(context.running) };
      } finally {
        await idle.end();
      }
    },
  },
  {
    name: 'local',
    phase: 'local',
    async run(context) {
      const up = await transfer(context, 'up', 1);
      const down = await transfer(context, 'down', 1);
      return { localUp: up.sum, localUpCpu: up.cpu, localDown: down.sum, localDownCpu: down.cpu };
    },
  },
  {
    name: 'rtt20',
    phase: 'rtt20',
    async run(context) {
      const { sum } = await transfer(context, 'down', 1);
      const { p50, p99 } = await roundTrips(context, RTT_MS.rtt20);
      return { rtt20Down: sum, rtt20Connect: p50, rtt20ConnectP99: p99 };
    },
  },
  {
    name: 'rtt100',
    phase: 'rtt100',
    async run(context) {
      const { sum } = await transfer(context, 'down', 1);
      const { p50 } = await roundTrips(context, RTT_MS.rtt100);
      return { rtt100Down: sum, rtt100Connect: p50 };
    },
  },
];

function bulk(context: Context, direction: 'up' | 'down', flows: number, seconds: number): Load {
  const { address, port } = context.running.entry(direction === 'up' ? PORTS.sink : PORTS.source);
  return new Load(context.running.host, [direction, address, port, flows, WARMUP_S, seconds]);
}

async function transfer(context: Context, direction: 'up' | 'down', flows: number): Promise<Transfer> {
  const load = bulk(context, direction, flows, context.seconds);
  try {
    await load.line();
    const before = cpuSeconds(context.running);
    const { seconds, bytes } = await load.result<{ seconds: number; bytes: number[] }>();
    const cpu = cpuSeconds(context.running) - before;
    const sum = bytes.reduce((total, part) => total + part, 0);
    return {
      sum: sum / seconds / MEGA,
      fairness: Math.min(...bytes) / (sum / bytes.length),
      cpu: cpu / (sum / GIGA),
    };
  } finally {
    await load.end();
  }
}

async function echo(context: Context, seconds: number): Promise<EchoResult> {
  const { address, port } = context.running.entry(PORTS.echo);
  return await measure<EchoResult>(context.running.host, [
    'echo',
    address,
    port,
    ECHO_BYTES,
    ECHO_COUNT,
    seconds,
  ]);
}

async function beside(context: Context, direction: 'up' | 'down'): Promise<EchoResult> {
  const load = bulk(context, direction, 1, context.seconds + WARMUP_S);
  try {
    await load.line();
    return await echo(context, context.seconds);
  } finally {
    await load.end('SIGTERM');
  }
}

async function rate(context: Context, atOnce: number): Promise<number> {
  const { done, failed, seconds } = await rateRun(context, atOnce);
  if (failed > 0) throw new Error(`${failed} of ${done + failed} connections failed`);
  return done / seconds;
}

async function rateRun(context: Context, atOnce: number): Promise<RateResult> {
  const { address, port } = context.running.entry(PORTS.echo);
  return await measure<RateResult>(context.running.host, ['rate', address, port, atOnce, context.seconds]);
}

async function roundTrips(context: Context, rttMs: number): Promise<{ p50: number; p99: number }> {
  const { p50_us, p99_us } = await rateRun(context, 1);
  return { p50: p50_us / 1000 / rttMs, p99: p99_us / 1000 / rttMs };
}

/** User and system time of all its processes; fields 14 and 15 of proc_pid_stat(5). */
function cpuSeconds(running: Running): number {
  let ticks = 0;
  for (const pid of running.pids()) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

function rss(running: Running): number {
  let kib = 0;
  for (const pid of running.pids()) {
    kib += Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  }
  return (kib * 1024) / MEGA;
}
