/**
 * npm run bench:admission -- [--rate N,...] [--seconds S] [--kubeconfig FILE]
 *
 * Asks an injector of its own about pods at each rate, as the API server does, and prints how long the answers took.
 * With a kubeconfig it makes pods with and without the label at that cluster instead, all of them by dry-run; the
 * chart is to be installed there. What is late is asked all the same, and counts from when it was to be asked.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { makeGeneration } from '../src/injector/certificate.ts';
import { podOf, PROFILE, reviewOf } from '../test/unit/injector-pods.ts';

const main = resolve(import.meta.dirname, '../dist/main.js');
const NAME = 'netproxy-injector.netproxy.svc';
const WARM_UP_RATE = 50;
const WARM_UP_S = 2;
const DEADLINE_MS = 10_000;

const { values: options } = parseArgs({
  options: {
    rate: { type: 'string', default: '50,200' },
    seconds: { type: 'string', default: '10' },
    kubeconfig: { type: 'string' },
  },
});
const rates = options.rate.split(',').map(Number);
const seconds = Number(options.seconds);

const percentile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;

function print(...cells: readonly string[]): void {
  console.log(cells.map((cell, at) => (at === 0 ? cell.padEnd(34) : cell.padStart(11))).join(''));
}

/** Where requests go, and headers that they have there. */
type Target = RequestOptions & { readonly more?: Readonly<Record<string, string>> };

/** One request; rejects unless its answer is good. */
type Ask = (number: number) => Promise<void>;

/** One of the kind each 1/rate seconds, however long the others take; milliseconds from when each was due. */
async function load(
  ask: Ask,
  rate: number,
  forSeconds: number,
): Promise<{ sorted: number[]; failed: number }> {
  const took: number[] = [];
  let failed = 0;
  const begun = performance.now();
  const asked = Array.from({ length: Math.round(rate * forSeconds) }, async (_, number) => {
    const due = begun + (1000 * number) / rate;
    await sleep(Math.max(0, due - performance.now()));
    try {
      await ask(number);
      took.push(performance.now() - due);
    } catch (error) {
      if (failed++ === 0) console.error(`the first failure: ${(error as Error).message}`);
    }
  });
  await Promise.all(asked);
  return { sorted: took.toSorted((a, b) => a - b), failed };
}

async function measure(what: string, ask: Ask): Promise<void> {
  await load(ask, WARM_UP_RATE, WARM_UP_S);
  for (const rate of rates) {
    const { sorted, failed } = await load(ask, rate, seconds);
    const cells = [0.5, 0.99, 1].map((part) => percentile(sorted, part).toFixed(2));
    print(what, String(rate), ...cells, String(failed));
  }
}

function post(to: Target, body: string, isGood: (status: number, text: string) => boolean): Promise<void> {
  return new Promise((done, reject) => {
    const headers = {
      ...to.more,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    };
    const asked = request({ ...to, method: 'POST', headers, timeout: DEADLINE_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { statusCode = 0 } = response;
        if (isGood(statusCode, text)) done();
        else reject(new Error(`${statusCode} ${text.slice(0, 200)}`));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', reject);
    asked.end(body);
  });
}

async function own(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'netproxy-admission-'));
  const { certificate, key, authority } = await makeGeneration([NAME], Date.now());
  writeFileSync(join(folder, 'tls.crt'), certificate);
  writeFileSync(join(folder, 'tls.key'), key);
  writeFileSync(join(folder, 'default.yaml'), PROFILE);
  const flags = [
    '--profiles',
    folder,
    '--tls-folder',
    folder,
    '--cluster-cidrs',
    '10.96.0.0/12,10.244.0.0/16',
  ];
  const child = spawn(
    process.execPath,
    [main, 'injector', ...flags, '--listen', '127.0.0.1:18443', '--status-listen', '127.0.0.1:18080'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  try {
    await once(child.stdout, 'data');
    const to = {
      ...{ host: '127.0.0.1', port: 18_443, path: '/inject?timeout=10s', servername: NAME, ca: authority },
      // The API server's own: a connection is kept for the next request.
      agent: new Agent({ keepAlive: true, maxSockets: 100 }),
    };
    const pod = podOf({
      containers: Array.from({ length: 3 }, (_, at) => ({ name: `app${at}`, image: 'app', env: [] })),
      volumes: [{ name: 'data', emptyDir: {} }],
    });
    const body = reviewOf(pod);
    const before = usage(child);
    await measure('at the injector', () =>
      post(to, body, (status, text) => status === 200 && text.includes('"patch"')),
    );
    const after = usage(child);
    const count = WARM_UP_RATE * WARM_UP_S + rates.reduce((sum, rate) => sum + rate * seconds, 0);
    console.log(
      `\nprocessor time of an answer: ${((1000 * (after.cpuS - before.cpuS)) / count).toFixed(2)} ms`,
    );
    console.log(`resident memory: ${before.rssMb} MB at first, ${after.rssMb} MB at last\n`);
    to.agent.destroy();
  } finally {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true });
  }
}

/** proc_pid_stat(5), utime and stime in ticks of 10 ms; VmRSS of proc_pid_status(5). */
function usage({ pid }: ChildProcess): { cpuS: number; rssMb: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  const rss = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return { cpuS: (Number(stat[11]) + Number(stat[12])) / 100, rssMb: Math.round(Number(rss) / 1024) };
}

interface KubeConfig {
  readonly 'current-context': string;
  readonly contexts: readonly { name: string; context: { cluster: string; user: string } }[];
  readonly clusters: readonly { name: string; cluster: Readonly<Record<string, string>> }[];
  readonly users: readonly { name: string; user: Readonly<Record<string, string>> }[];
}

/** Of a kubeconfig: the API server, and how to log in by a token or a certificate. */
function apiServer(file: string): Target {
  const config = parse(readFileSync(file, 'utf8')) as KubeConfig;
  const { context } = config.contexts.find(({ name }) => name === config['current-context'])!;
  const { cluster } = config.clusters.find(({ name }) => name === context.cluster)!;
  const { user } = config.users.find(({ name }) => name === context.user)!;
  const content = (from: Readonly<Record<string, string>>, name: string): Buffer | undefined => {
    const [path, data] = [from[name], from[`${name}-data`]];
    if (data === undefined) return path === undefined ? undefined : readFileSync(path);
    return Buffer.from(data, 'base64');
  };
  const { hostname, port } = new URL(cluster['server']!);
  const token = user['token'];
  return {
    ...{ host: hostname, port: port || 443, ca: content(cluster, 'certificate-authority') },
    ...{ cert: content(user, 'client-certificate'), key: content(user, 'client-key') },
    rejectUnauthorized: !cluster['insecure-skip-tls-verify'],
    more: token === undefined ? {} : { authorization: `Bearer ${token}` },
    agent: new Agent({ keepAlive: true, maxSockets: 100 }),
  };
}

async function atApiServer(file: string): Promise<void> {
  const to = { ...apiServer(file), path: '/api/v1/namespaces/default/pods?dryRun=All' };
  const make =
    (labels: object): Ask =>
    (number) =>
      post(to, JSON.stringify(podOf({}, { name: `bench-${number}`, labels })), (status) => status === 201);
  await measure('at the API server, no label', make({}));
  await measure('at the API server, injected', make({ 'netproxy.io/inject': 'true' }));
  (to.agent as Agent).destroy();
}

print('', 'pods/s', 'p50 ms', 'p99 ms', 'longest', 'failed');
if (options.kubeconfig !== undefined) await atApiServer(options.kubeconfig);
else await own();
