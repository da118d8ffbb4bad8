/** What is measured, and what is to be reached. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Namespace } from '../test/lab/namespaces.ts';
import { Load, measure, PORTS } from './load.ts';
import type { Running } from './subjects.ts';

const MEGA = 1e6;
const GIGA = 1e9;
const WARMUP_S = 0.5;
const ECHO_BYTES = 64;
const ECHO_COUNT = 5000;
const MANY_FLOWS = 8;
const IDLE_FLOWS = 1000;
/** Milliseconds until memory is read, so that what the start allocated has been collected. */
const SETTLE_MS = 1000;
/** `getconf CLK_TCK` on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Figure {
  readonly title: string;
  readonly unit: string;
  /** Bounds of ours: as a multiple of `ssh -L`, or absolute. */
  readonly target?: { readonly ratio?: number; readonly value?: number };
  readonly better: 'higher' | 'lower';
}

const higher = (title: string, unit: string, ratio?: number): Figure =>
  ratio === undefined
    ? { title, unit, better: 'higher' }
    : { title, unit, better: 'higher', target: { ratio } };
const lower = (title: string, unit: string, target?: Figure['target']): Figure =>
  target === undefined ? { title, unit, better: 'lower' } : { title, unit, better: 'lower', target };

export const FIGURES = {
  up: higher('upload, 1 flow', 'MB/s', 1.2),
  upCpu: lower('upload, CPU of the client', 's/GB'),
  down: higher('download, 1 flow', 'MB/s', 1.1),
  downCpu: lower('download, CPU of the client', 's/GB'),
  up8: higher('upload, 8 flows, sum', 'MB/s'),
  up8Fair: higher('upload, 8 flows, slowest / mean', ''),
  down8: higher('download, 8 flows, sum', 'MB/s'),
  down8Fair: higher('download, 8 flows, slowest / mean', ''),
  rate1: higher('new connections, one after another', '1/s'),
  rate50: higher('new connections, 50 at once', '1/s', 0.9),
  echoP50: lower('echo, p50', 'us', { ratio: 1.3 }),
  echoP99: lower('echo, p99', 'us', { ratio: 2 }),
  echoUpP50: lower('echo beside an upload, p50', 'us', { ratio: 1.2 }),
  echoUpP99: lower('echo beside an upload, p99', 'us'),
  echoDownP50: lower('echo beside a download, p50', 'us', { ratio: 1.2 }),
  echoDownP99: lower('echo beside a download, p99', 'us'),
  start: lower('start to first byte', 's', { value: 1 }),
  rss: lower('memory when idle (RSS)', 'MB', { value: 80 }),
  rss1000: lower('more memory with 1,000 idle flows', 'MB', { value: 20 }),
  localUp: { title: 'local half alone, upload', unit: 'MB/s', better: 'higher', target: { value: 3000 } },
  localUpCpu: lower('local half alone, upload, CPU', 's/GB', { value: 0.4 }),
  localDown: { title: 'local half alone, download', unit: 'MB/s', better: 'higher', target: { value: 3000 } },
  localDownCpu: lower('local half alone, download, CPU', 's/GB', { value: 0.4 }),
  rtt20Down: higher('download, 20 ms round trip', 'MB/s'),
  rtt20Connect: lower('connect and 1 echo, 20 ms', 'round trips'),
  rtt100Down: higher('download, 100 ms round trip', 'MB/s'),
  rtt100Connect: lower('connect and 1 echo, 100 ms', 'round trips'),
} as const satisfies Record<string, Figure>;

export type FigureId = keyof typeof FIGURES;
export type Values = Partial<Record<FigureId, number>>;

export interface Context {
  readonly app: Namespace;
  readonly running: Running;
  readonly seconds: number;
}

/**
 * The state a measurement finds its subject in: `warm` has been started once for all rounds, `fresh`
 * for this measurement alone; `local` is the local half in place of all subjects; the others like `warm` behind a relay with that round trip.
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
      const before = rss(context.running.pid);
      const { address, port } = context.running.entry(PORTS.echo);
      const idle = new Load(context.app, ['idle', address, port, IDLE_FLOWS]);
      try {
        await idle.line();
        await sleep(SETTLE_MS);
        return { rss: before, rss1000: rss(context.running.pid) - before };
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
      return { rtt20Down: sum, rtt20Connect: await roundTrips(context, RTT_MS.rtt20) };
    },
  },
  {
    name: 'rtt100',
    phase: 'rtt100',
    async run(context) {
      const { sum } = await transfer(context, 'down', 1);
      return { rtt100Down: sum, rtt100Connect: await roundTrips(context, RTT_MS.rtt100) };
    },
  },
];

function bulk(context: Context, direction: 'up' | 'down', flows: number, seconds: number): Load {
  const { address, port } = context.running.entry(direction === 'up' ? PORTS.sink : PORTS.source);
  return new Load(context.app, [direction, address, port, flows, WARMUP_S, seconds]);
}

async function transfer(context: Context, direction: 'up' | 'down', flows: number): Promise<Transfer> {
  const load = bulk(context, direction, flows, context.seconds);
  try {
    await load.line();
    const before = cpuSeconds(context.running.pid);
    const { seconds, bytes } = await load.result<{ seconds: number; bytes: number[] }>();
    const cpu = cpuSeconds(context.running.pid) - before;
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
  return await measure<EchoResult>(context.app, ['echo', address, port, ECHO_BYTES, ECHO_COUNT, seconds]);
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
  return await measure<RateResult>(context.app, ['rate', address, port, atOnce, context.seconds]);
}

async function roundTrips(context: Context, rttMs: number): Promise<number> {
  return (await rateRun(context, 1)).p50_us / 1000 / rttMs;
}

/** User and system time of the whole process; fields 14 and 15 of proc_pid_stat(5). */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function rss(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (Number(kib) * 1024) / MEGA;
}
