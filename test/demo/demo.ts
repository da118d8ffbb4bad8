/**
 * Shows netproxy at work on one machine, in network namespaces of its own: an application that has no
 * way to a web server, a bastion that has, and netproxy between. Everything is real: the kernel's
 * routes, OpenSSH's sshd, curl. Ends with 0 when all came out as it should, with 1 otherwise.
 */
import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';

import { LAB, countLeaks, createLab, waitFor, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { failureCount, part, result, say, table } from './report.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const MIB = 1024 * 1024;
const FILE_BYTES = 64 * MIB;
const READY_DEADLINE_MS = 30_000;
/** `curl` exit codes (man curl): connection failed, time-out. */
const CURL_FAILED = 7;
const CURL_TIMED_OUT = 28;

interface Fetched {
  readonly code: number | null;
  readonly error: string;
  readonly bytes: number;
  readonly connectMs: number;
  readonly totalMs: number;
}

let sshd: Sshd | undefined;
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    // The namespaces and every process in them go with this process's exit.
    if (sshd !== undefined) rmSync(sshd.directory, { recursive: true, force: true });
    console.log(`\n  ${name}: cleaned up`);
    process.exit(1);
  });
}

const started = performance.now();
const lab = await createLab();
try {
  await demo(lab);
} catch (error) {
  result('the demo itself', (error as Error).message, false);
} finally {
  await sshd?.stop();
  await lab.cleanup();
}
const seconds = ((performance.now() - started) / 1000).toFixed(1);
part(
  failureCount() === 0
    ? `All as it should be, in ${seconds} s. Everything was removed again.`
    : `${failureCount()} of the results above are not as they should be.`,
);
process.exit(failureCount() === 0 ? 0 : 1);

async function demo({ app, bastion, target }: Lab): Promise<void> {
  part('1. Three network namespaces');
  const web = target.spawn([process.execPath, path.join(import.meta.dirname, 'web.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const requests = lines(web);
  sshd = await startSshd({ netns: bastion.name, address: LAB.bastion.v4 });
  await waitForPort(target, 80);
  say(
    `app ${LAB.app.v4} ───── bastion ${LAB.bastion.v4} ┊ ${LAB.bastion.far4} ───── target ${LAB.target.v4}`,
  );
  say(`                            sshd (OpenSSH, port ${sshd.port})          web server, port 80`);
  say('The bastion forwards no packets: only a process on it reaches the target.');
  const before = await app.routes();
  const direct = await fetch(app, LAB.target.v4, '/', 1);
  result(
    'the app fetches the page, directly',
    direct.error,
    direct.code === CURL_FAILED || direct.code === CURL_TIMED_OUT,
  );

  part("2. netproxy in the app's namespace");
  let proxy = await startNetproxy(app, sshd);
  result('netproxy run', proxy.line, true);
  const route4 = await routeOf(app, LAB.target.v4);
  const route6 = await routeOf(app, LAB.target.v6);
  const routeOwn = await routeOf(app, LAB.target.v4, 'mark', '0x6e70');
  result('route of the app, IPv4', route4, route4.includes('dev tun0'));
  result('route of the app, IPv6', route6, route6.includes('dev tun0'));
  result("route of netproxy's own sockets", routeOwn, routeOwn.includes('dev eth0'));

  part('3. Plain curl, unchanged, in the app');
  const page = await fetch(app, LAB.target.v4, '/');
  result('a page over IPv4', `${page.bytes} bytes in ${ms(page.totalMs)}`, page.code === 0 && page.bytes > 0);
  await hops(page, proxy, requests, [route4, routeOwn]);
  const page6 = await fetch(app, LAB.target.v6, '/');
  result(
    'the page over IPv6',
    `${page6.bytes} bytes in ${ms(page6.totalMs)}${page6.error}`,
    page6.code === 0 && page6.bytes === page.bytes,
  );
  const file = await fetch(app, LAB.target.v4, '/file', 120);
  const rate = (file.bytes / MIB / (file.totalMs / 1000)).toFixed(0);
  result(
    'a file of 64 MiB',
    `${file.bytes} bytes in ${ms(file.totalMs)}, ${rate} MiB/s${file.error}`,
    file.code === 0 && file.bytes === FILE_BYTES,
  );

  part('4. Failures are the true ones');
  const closed = await fetch(app, LAB.target.v4, ':81/');
  result('a closed port', closed.error, closed.code === CURL_FAILED && /refused/i.test(closed.error));
  const unreachable = await fetch(app, LAB.absent.v4, '/', 10);
  result(
    'a host that is not there',
    unreachable.error,
    unreachable.code === CURL_FAILED && /no route to host/i.test(unreachable.error),
  );

  part('5. netproxy is killed with SIGKILL');
  const leaks = await countLeaks(
    app,
    'eth0',
    async () => {
      await end(proxy.child, 'SIGKILL');
      const dead = await fetch(app, LAB.target.v4, '/');
      result(
        'the app fetches the page',
        `${dead.error} after ${ms(dead.totalMs)}`,
        dead.code === CURL_FAILED && /network is unreachable/i.test(dead.error),
      );
    },
    `(host ${LAB.target.v4} or host ${LAB.target.v6})`,
  );
  result('packets to the target on eth0', String(leaks.count), leaks.count === 0);
  proxy = await startNetproxy(app, sshd);
  result('netproxy run, again', proxy.line, true);
  const again = await fetch(app, LAB.target.v4, '/');
  result(
    'the app fetches the page',
    `${again.bytes} bytes in ${ms(again.totalMs)}${again.error}`,
    again.code === 0 && again.bytes === page.bytes,
  );

  part('6. The end');
  const code = await end(proxy.child, 'SIGTERM');
  result('SIGTERM', `netproxy ended with ${code}`, code === 0 || code === 143);
  const released = await app.run([process.execPath, path.join(ROOT, 'dist/main.js'), 'release'], {
    mayFail: true,
  });
  result(
    'netproxy release',
    `${released.stdout.trim().split('\n').length} commands, exit ${released.code}`,
    released.code === 0,
  );
  result('the routes are as they were', 'compared as text', (await app.routes()) === before);
}

interface Netproxy {
  readonly child: ChildProcess;
  /** The ready line. */
  readonly line: string;
  readonly log: readonly string[];
}

async function startNetproxy(app: Lab['app'], server: Sshd): Promise<Netproxy> {
  const child = app.spawn(
    [
      process.execPath,
      path.join(ROOT, 'dist/main.js'),
      'run',
      ...['--bastion', `ssh://${server.user}@${server.address}:${server.port}`],
      ...['--identity', server.clientKeyFile],
      ...['--known-hosts', server.knownHostsFile],
      ...['--log-level', 'debug', '--log-format', 'json'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const out = lines(child);
  const log = lines(child, 'stderr');
  const line = await waitFor(
    'the ready line of netproxy',
    () => {
      if (child.exitCode !== null)
        throw new Error(`netproxy ended with ${child.exitCode}:\n${log.join('\n')}`);
      return out[0];
    },
    READY_DEADLINE_MS,
  );
  return { child, line, log };
}

async function fetch(app: Lab['app'], address: string, rest: string, seconds = 15): Promise<Fetched> {
  const host = address.includes(':') ? `[${address}]` : address;
  const format = '%{size_download} %{time_connect} %{time_total}';
  const argv = [
    'curl',
    '-sv',
    '--noproxy',
    '*',
    '-m',
    String(seconds),
    '-o',
    '/dev/null',
    '-w',
    format,
    `http://${host}${rest}`,
  ];
  const { code, stdout, stderr } = await app.run(argv, { mayFail: true });
  const [bytes = 0, connect = 0, total = 0] = stdout.split(' ').map(Number);
  // Of what -v tells, the reason of a failed connect(2), or else curl's own last word.
  const reason =
    / (?:failed|fail for \S+): (.+)/.exec(stderr)?.[1] ??
    /(?:Connection timed out|Operation timed out)/.exec(stderr)?.[0];
  const error = code === 0 ? '' : `curl: ${reason ?? `exit ${code}`}`;
  return { code, error, bytes, connectMs: connect * 1000, totalMs: total * 1000 };
}

/** The way of the first page, hop by hop, each as that hop itself tells it. */
async function hops(
  page: Fetched,
  proxy: Netproxy,
  requests: readonly string[],
  [route = '', own = '']: readonly string[],
): Promise<void> {
  const target = `${LAB.target.v4}:80`;
  const flow = await waitFor("netproxy's record of the flow", () =>
    proxy.log.map(record).find((entry) => entry['to'] === target && entry['bytesIn'] !== undefined),
  );
  const request = record(requests[0] ?? '{}');
  table([
    ['hop', 'where', 'what'],
    ['route', 'app', route],
    [
      'flow',
      'tun0',
      `${String(flow['from'])} -> ${String(flow['to'])}, answered after ${ms(page.connectMs)}`,
    ],
    ['verdict', 'netproxy', `upstream "${String(flow['verdict'])}" by rule "${String(flow['rule'])}"`],
    [
      'channel',
      'eth0',
      `SSH direct-tcpip ${own}: open ${String(flow['openMs'])} ms, ${String(flow['bytesOut'])} bytes out, ${String(flow['bytesIn'])} in`,
    ],
    ['request', 'target', `GET ${String(request['path'])} from ${String(request['peer'])}, the bastion`],
    ['answer', 'app', `${page.bytes} bytes, ${ms(page.totalMs)} in all`],
  ]);
}

function record(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return {};
  }
}

async function routeOf(app: Lab['app'], address: string, ...more: string[]): Promise<string> {
  const { stdout } = await app.run(['ip', '-o', 'route', 'get', address, ...more], { mayFail: true });
  return /(?:via \S+ )?dev \S+/.exec(stdout)?.[0] ?? 'none';
}

/** Lines that a process has printed so far; grows. */
function lines(child: ChildProcess, stream: 'stdout' | 'stderr' = 'stdout'): readonly string[] {
  const found: string[] = [];
  let rest = '';
  child[stream]?.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    found.push(...parts);
  });
  return found;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  child.kill(signal);
  await waitFor('the end of netproxy', () => child.exitCode !== null || child.signalCode !== null);
  return child.exitCode;
}

function ms(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${value.toFixed(0)} ms`;
}
