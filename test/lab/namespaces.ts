/**
 * Network namespaces for tests, the demo and the bench. Everything is real: veth pairs, the
 * kernel's own routing, tcpdump. Nothing outside the namespaces made here is touched.
 *
 * ```
 *  app                      bastion                            target
 *  eth0 192.0.2.10    ───── lan0 192.0.2.1   (does not
 *       2001:db8:1::10  │        2001:db8:1::1   forward)
 *                       │   far0 198.51.100.1  ───────── eth0 198.51.100.80
 *  other (option)       │        2001:db8:2::1                2001:db8:2::80
 *  eth0 192.0.2.20    ──┘
 *       2001:db8:1::20
 * ```
 *
 * The app's default routes lead to the bastion, which forwards nothing: the target is reached only
 * by a process in the bastion, that is by its sshd.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Names are `np-<pid of the owner>-<number>-<role>`, so that leftovers can be told by their pid. */
const NAME = /^np-(\d+)-\d+-[a-z0-9]+$/;
const POLL_INTERVAL_MS = 10;
/** Only what does not work waits so long. */
const WAIT_DEADLINE_MS = 30_000;
const KILL_DEADLINE_MS = 2_000;
/** What tcpdump is given to take the packets that the kernel already holds for it. */
const DRAIN_MS = 300;

/** Where everything is. The black holes are routes or neighbours of the bastion. */
export const LAB = {
  app: { v4: '192.0.2.10', v6: '2001:db8:1::10' },
  other: { v4: '192.0.2.20', v6: '2001:db8:1::20' },
  bastion: { v4: '192.0.2.1', v6: '2001:db8:1::1', far4: '198.51.100.1', far6: '2001:db8:2::1' },
  target: { v4: '198.51.100.80', v6: '2001:db8:2::80' },
  /** connect(2) in the bastion gives EHOSTUNREACH (v4 and v6). */
  unreachable: { v4: '203.0.113.10', v6: '2001:db8:3::10' },
  /** connect(2) in the bastion gives EACCES. */
  prohibited: { v4: '203.0.113.80', v6: '2001:db8:4::10' },
  /** connect(2) in the bastion gives EINVAL. */
  blackhole: { v4: '203.0.113.144', v6: '2001:db8:5::10' },
  /** On the target's LAN behind a neighbour entry that nobody owns: SYNs are lost, connect(2) times out. */
  silent: { v4: '198.51.100.99', v6: '2001:db8:2::99' },
  /** On the target's LAN, and nobody is there: connect(2) gives EHOSTUNREACH after about three seconds. */
  absent: { v4: '198.51.100.77', v6: '2001:db8:2::77' },
  /** The bastion has no route at all: connect(2) gives ENETUNREACH. */
  networkless: { v4: '10.99.0.1', v6: '2001:db8:99::1' },
} as const;

export interface RunResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
  /** True gives the result of a failed command instead of throwing. */
  readonly mayFail?: boolean;
}

const owned = new Set<string>();
let serial = 0;
let hooked = false;

/** One network namespace of `ip netns`, and what can be run in it. */
export class Namespace {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** Makes a namespace with a working loopback and no duplicate address detection. */
  static async create(role: string): Promise<Namespace> {
    hookExit();
    const name = `np-${process.pid}-${++serial}-${role}`;
    owned.add(name);
    await execute(['ip', 'netns', 'add', name]);
    const namespace = new Namespace(name);
    // DAD would keep link-local addresses tentative for one to two seconds.
    await namespace.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad']);
    await namespace.ip('link set lo up');
    return namespace;
  }

  /** The command that runs `argv` here; the process keeps its own mounts. */
  command(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${this.name}`, '--', ...argv];
  }

  /** Runs to its end. Throws with the command and its output unless `mayFail`. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return execute(this.command(argv), options);
  }

  /** `run` in the mount view of `ip netns exec`, where /etc/netns/NAME covers /etc. */
  runWithEtc(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return execute(['ip', 'netns', 'exec', this.name, ...argv], options);
  }

  /** Starts a process; its pid is that of `argv` itself. `cleanup` ends it if the caller has not. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [file, ...rest] = this.command(argv);
    return spawn(file, rest, options);
  }

  /** Lines for one `ip -batch`, each without the leading `ip`. */
  async ip(...lines: string[]): Promise<void> {
    await execute(['ip', '-n', this.name, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  /** Parsed output of `ip -j`. */
  async ipJson<T>(...argv: string[]): Promise<T> {
    const { stdout } = await execute(['ip', '-n', this.name, '-j', ...argv]);
    return JSON.parse(stdout.trim() === '' ? '[]' : stdout) as T;
  }

  /** Every address, route, rule and table of nftables as text, for comparing before and after. */
  async routes(): Promise<string> {
    const shows = ['-4 -d route show table all', '-6 -d route show table all', '-4 -d rule', '-6 -d rule'];
    const script = `${shows.map((show) => `echo "# ip ${show}"; ip ${show}`).join('; ')}; ip -o addr; nft -s list ruleset`;
    const { stdout } = await this.run(['sh', '-c', script]);
    // The number of a device changes when it is made again.
    return stdout
      .replaceAll(/^\d+: (?=\S+ +inet)/gm, '')
      .replaceAll(/ expires \d+sec/g, '')
      .replaceAll(/[ \t]+$/gm, '');
  }

  /** Processes that live here now. */
  async pids(): Promise<number[]> {
    const { stdout } = await execute(['ip', 'netns', 'pids', this.name], { mayFail: true });
    return stdout.split('\n').filter(Boolean).map(Number);
  }

  async remove(): Promise<void> {
    await endProcesses(await this.pids());
    await execute(['ip', 'netns', 'del', this.name], { mayFail: true });
    owned.delete(this.name);
  }
}

export interface LabOptions {
  /** Adds the host `other` on the app's LAN. */
  readonly other?: boolean;
  /** Address families of the app; both by default. */
  readonly families?: readonly (4 | 6)[];
  /** False leaves the app without default routes. */
  readonly defaults?: boolean;
}

export interface Lab {
  readonly app: Namespace;
  readonly bastion: Namespace;
  readonly target: Namespace;
  /** Throws unless asked for in the options. */
  readonly other: Namespace;
  cleanup(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Makes the topology drawn at the top of this file. */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  sweep();
  const families = options.families ?? [4, 6];
  const [app, bastion, target, other] = await Promise.all([
    Namespace.create('app'),
    Namespace.create('bastion'),
    Namespace.create('target'),
    options.other === true ? Namespace.create('other') : undefined,
  ]);
  const all = [app, bastion, target, ...(other === undefined ? [] : [other])];

  const hosts: [Namespace, { v4: string; v6: string }][] = [[app, LAB.app]];
  if (other !== undefined) hosts.push([other, LAB.other]);
  await bastion.ip(
    // A bridge only because the LAN may have a third host.
    'link add lan0 type bridge',
    ...hosts.flatMap(([host], index) => [
      `link add port${index} type veth peer name eth0 netns ${host.name}`,
      `link set port${index} master lan0 up`,
    ]),
    `link add far0 type veth peer name eth0 netns ${target.name}`,
    'link set lan0 up',
    'link set far0 up',
    `addr add ${LAB.bastion.v4}/24 dev lan0`,
    `addr add ${LAB.bastion.v6}/64 dev lan0 nodad`,
    `addr add ${LAB.bastion.far4}/24 dev far0`,
    `addr add ${LAB.bastion.far6}/64 dev far0 nodad`,
    `route add unreachable ${LAB.unreachable.v4}`,
    `route add unreachable ${LAB.unreachable.v6}`,
    `route add prohibit ${LAB.prohibited.v4}`,
    `route add prohibit ${LAB.prohibited.v6}`,
    `route add blackhole ${LAB.blackhole.v4}`,
    `route add blackhole ${LAB.blackhole.v6}`,
    `neigh add ${LAB.silent.v4} lladdr 02:00:00:00:00:99 dev far0 nud permanent`,
    `neigh add ${LAB.silent.v6} lladdr 02:00:00:00:00:99 dev far0 nud permanent`,
  );
  for (const [host, address] of hosts) {
    const lines = ['link set eth0 up'];
    if (families.includes(4)) lines.push(`addr add ${address.v4}/24 dev eth0`);
    if (families.includes(6)) lines.push(`addr add ${address.v6}/64 dev eth0 nodad`);
    if (options.defaults !== false && families.includes(4))
      lines.push(`route add default via ${LAB.bastion.v4} dev eth0`);
    if (options.defaults !== false && families.includes(6))
      lines.push(`route add default via ${LAB.bastion.v6} dev eth0`);
    await host.ip(...lines);
  }
  await target.ip(
    'link set eth0 up',
    `addr add ${LAB.target.v4}/24 dev eth0`,
    `addr add ${LAB.target.v6}/64 dev eth0 nodad`,
  );
  // Carrier of a veth comes a moment after both ends are up; addresses answer only then.
  const devices: [Namespace, string][] = [
    ...hosts.map(([host]): [Namespace, string] => [host, 'eth0']),
    [target, 'eth0'],
    [bastion, 'lan0'],
  ];
  await Promise.all(
    devices.map(([namespace, device]) =>
      waitFor(`carrier of ${device}`, () => hasCarrier(namespace, device)),
    ),
  );

  const cleanup = async (): Promise<void> => {
    await Promise.all(all.map((namespace) => namespace.remove()));
  };
  return {
    app,
    bastion,
    target,
    get other(): Namespace {
      if (other === undefined) throw new Error('createLab({ other: true }) makes the host "other"');
      return other;
    },
    cleanup,
    [Symbol.asyncDispose]: cleanup,
  };
}

async function hasCarrier(namespace: Namespace, device: string): Promise<boolean> {
  const links = await namespace.ipJson<{ flags: string[] }[]>('link', 'show', 'dev', device);
  return links[0]?.flags.includes('LOWER_UP') === true;
}

/** Polls until `state` gives something other than undefined, null, false or ''; throws at the deadline. */
export async function waitFor<T>(
  what: string,
  state: () => T | Promise<T>,
  deadlineMs = WAIT_DEADLINE_MS,
): Promise<NonNullable<Exclude<T, false>>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const found = await state();
    if (found !== undefined && found !== null && found !== false && found !== '')
      return found as NonNullable<Exclude<T, false>>;
    if (performance.now() > end) throw new Error(`waiting for ${what}: not so after ${deadlineMs} ms`);
    await sleep(POLL_INTERVAL_MS);
  }
}

/** Waits until something in `namespace` listens on TCP `port`. */
export async function waitForPort(
  namespace: Namespace,
  port: number,
  deadlineMs = WAIT_DEADLINE_MS,
): Promise<void> {
  await waitFor(
    `a listener on port ${port} in ${namespace.name}`,
    async () => {
      const { stdout } = await namespace.run(['cat', '/proc/self/net/tcp', '/proc/self/net/tcp6']);
      // Columns: slot, local address:port in hex, remote, state; 0A is LISTEN.
      return new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A `).test(stdout);
    },
    deadlineMs,
  );
}

export interface Capture {
  /** What tcpdump printed so far, one packet a line. */
  readonly lines: readonly string[];
  /** Ends the capture. Gives the number of packets of the direction and filter asked for. */
  stop(): Promise<number>;
}

/**
 * Unicast beyond the link. Neighbour discovery, router solicitation, multicast reports and ARP come
 * from the kernel on its own account and are no leak.
 */
export const LEAK_FILTER =
  '(ip or ip6) and not dst net 224.0.0.0/4 and not ip6 dst net ff00::/8 and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 137)';

/** Starts tcpdump on `device` and returns when it captures. */
export async function capture(
  namespace: Namespace,
  device: string,
  filter = LEAK_FILTER,
  direction: 'in' | 'out' | 'inout' = 'out',
): Promise<Capture> {
  const child = namespace.spawn(
    ['tcpdump', '-i', device, '-nn', '-l', '--immediate-mode', '-Q', direction, filter],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const lines: string[] = [];
  let rest = '';
  let errors = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const closed = once(child, 'close');
  await waitFor(`tcpdump on ${device}`, () => {
    if (child.exitCode !== null) throw new Error(`tcpdump -i ${device}: ${errors}`);
    return errors.includes('listening on');
  });
  return {
    lines,
    async stop(): Promise<number> {
      await sleep(DRAIN_MS);
      child.kill('SIGINT');
      await closed;
      // Not "received by filter", which has packets of the other direction, too.
      const count = /(\d+) packets? captured/.exec(errors);
      if (count === null) throw new Error(`tcpdump -i ${device} told no count: ${errors}`);
      return Number(count[1]);
    },
  };
}

/** Runs `body` while counting the packets that leave by `device`. */
export async function countLeaks(
  namespace: Namespace,
  device: string,
  body: () => Promise<void>,
  filter = LEAK_FILTER,
): Promise<{ count: number; lines: readonly string[] }> {
  const running = await capture(namespace, device, filter);
  try {
    await body();
  } catch (error) {
    await running.stop();
    throw error;
  }
  return { count: await running.stop(), lines: running.lines };
}

/** Removes namespaces whose owner is dead, with what still runs in them. */
export function sweep(): void {
  const list = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  for (const line of list.split('\n')) {
    const name = line.split(' ')[0] ?? '';
    const match = NAME.exec(name);
    if (match !== null && !isAlive(Number(match[1]))) removeSync(name);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function removeSync(name: string): void {
  try {
    const pids = execFileSync('ip', ['netns', 'pids', name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    for (const pid of pids.split('\n').filter(Boolean)) signal(Number(pid), 'SIGKILL');
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  } catch {
    // Another process swept it at the same time.
  }
  owned.delete(name);
}

/** SIGTERM, and SIGKILL for those that are still there at the deadline. */
async function endProcesses(pids: readonly number[]): Promise<void> {
  for (const pid of pids) signal(pid, 'SIGTERM');
  try {
    await waitFor('processes to end', () => pids.every((pid) => !isRunning(pid)), KILL_DEADLINE_MS);
  } catch {
    for (const pid of pids) signal(pid, 'SIGKILL');
  }
}

/** A zombie that its parent has not yet reaped counts as ended: it holds no namespace. */
function isRunning(pid: number): boolean {
  if (!isAlive(pid)) return false;
  try {
    readlinkSync(`/proc/${pid}/exe`);
    return true;
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended on its own.
  }
}

function hookExit(): void {
  if (hooked) return;
  hooked = true;
  process.once('exit', () => {
    for (const name of owned) removeSync(name);
  });
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => {
      for (const namespace of owned) removeSync(namespace);
      // The listener is gone, so the default action ends the process as the sender expects.
      process.kill(process.pid, name);
    });
  }
}

/** Runs a command to its end. Throws with it and its output unless `mayFail`. */
export function execute(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file, ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = execFile(
      file ?? '',
      rest,
      {
        env: options.env ?? { ...process.env, LC_ALL: 'C' },
        maxBuffer: 256 * 1024 * 1024,
        timeout: options.timeoutMs ?? 60_000,
        killSignal: 'SIGKILL',
      },
      (error, stdout, stderr) => {
        const result: RunResult = { code: child.exitCode, signal: child.signalCode, stdout, stderr };
        if (error === null || options.mayFail === true) resolve(result);
        else
          reject(
            new Error(
              `${argv.join(' ')}: ${result.signal ?? `exit ${result.code}`}\n${options.input ?? ''}${stderr}${stdout}`,
            ),
          );
      },
    );
    child.stdin?.on('error', () => {
      // A command that reads no input has closed it; its exit code tells the rest.
    });
    child.stdin?.end(options.input ?? '');
  });
}
