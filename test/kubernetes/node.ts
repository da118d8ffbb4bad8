/**
 * The machine that the lab's cluster runs on: namespaces of its own for processes, mounts and the network, so that no
 * mount, process or rule of the real machine is touched, and all of it is over with one process.
 *
 * ```
 *  lab.app, "the node"                                  lab.bastion        lab.target
 *    pods 10.244.0.0/24 ── cni0
 *                           └── routed ── eth0 192.0.2.10 ─── 192.0.2.1 sshd ──── 198.51.100.80
 * ```
 */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { waitFor } from '../lab/namespaces.ts';
import type { Namespace } from '../lab/namespaces.ts';

/** Of a program's log that an error tells. */
const TAIL_CHARACTERS = 3_000;
const STOP_DEADLINE_MS = 10_000;
/** Of processor time for all pods together; a process has 1024. */
const SHARES = 16 * 1024;

/**
 * The first process. What the programs keep at places that can't be configured lies in memory of this mount
 * namespace. It reaps what containers leave behind.
 */
const FIRST = `
set -e
mount --make-rshared /
for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 node $folder; done
mkdir -p /run/netns /run/lock /var/lib/kubelet /var/log/pods /var/log/containers
echo ready
while :; do sleep 1000 & wait $!; done
`;

export class ClusterNode {
  readonly namespace: Namespace;
  /** Logs lie here. */
  readonly folder: string;
  /** Name of the control group that pods are in, below the root of each hierarchy. */
  readonly group: string;
  readonly #programs = new Map<string, ChildProcess>();
  #outer: ChildProcess | undefined;
  #first = 0;

  constructor(namespace: Namespace, folder: string, group: string) {
    this.namespace = namespace;
    this.folder = folder;
    this.group = group;
  }

  /** Process number of the first process, as this process sees it. */
  get first(): number {
    return this.#first;
  }

  async start(): Promise<void> {
    this.#removeGroups();
    for (const folder of hierarchies()) makeGroup(folder, this.group);
    const isolate = ['unshare', '--fork', '--kill-child=KILL', '--pid', '--mount', '--mount-proc'];
    const words = [...isolate, '--propagation', 'private', 'sh', '-c', FIRST];
    // Over when we are, however we end.
    const outer = this.namespace.spawn(['setpriv', '--pdeathsig', 'KILL', ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#outer = outer;
    await Promise.race([
      once(outer.stdout!, 'data'),
      once(outer, 'exit').then(([code]) => {
        throw new Error(`the first process of the node ended with ${String(code)}`);
      }),
    ]);
    const { stdout } = await this.namespace.run(['ps', '-o', 'pid=', '--ppid', String(outer.pid)]);
    this.#first = Number(stdout);
  }

  /** The command that runs `argv` on the node. */
  command(argv: readonly string[]): [string, ...string[]] {
    return commandOn(this.#first, argv);
  }

  /** Starts a program that runs for as long as the node; its output goes to its log. */
  launch(name: string, argv: readonly string[], env: NodeJS.ProcessEnv = {}): void {
    const log = openSync(this.#log(name), 'a');
    const [file, ...words] = this.command(argv);
    const child = spawn(file, words, { stdio: ['ignore', log, log], env: { ...process.env, ...env } });
    closeSync(log);
    this.#programs.set(name, child);
  }

  /** Ends a program in order. */
  async end(name: string): Promise<void> {
    const child = this.#programs.get(name);
    this.#programs.delete(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    // The one that was started hands no signal on.
    const { stdout } = await this.namespace.run(['ps', '-o', 'pid=', '--ppid', String(child.pid)]);
    process.kill(Number(stdout), 'SIGTERM');
    await ended;
  }

  /** Waits until `state` holds; throws at once when one of the programs has ended. */
  async until(what: string, deadlineMs: number, state: () => boolean | Promise<boolean>): Promise<void> {
    await waitFor(
      what,
      async () => {
        for (const [name, child] of this.#programs) {
          if (child.exitCode !== null || child.signalCode !== null)
            throw new Error(`${name} ended:\n${this.tail(name)}`);
        }
        return await state();
      },
      deadlineMs,
    );
  }

  /** The end of a program's log. */
  tail(name: string): string {
    return existsSync(this.#log(name)) ? readFileSync(this.#log(name), 'utf8').slice(-TAIL_CHARACTERS) : '';
  }

  /** Ends all that runs here: with the first process the kernel ends the others, their mounts and networks. */
  async stop(): Promise<void> {
    const outer = this.#outer;
    this.#outer = undefined;
    if (outer !== undefined && outer.exitCode === null && outer.signalCode === null) {
      const ended = once(outer, 'exit');
      // The kernel kills the first process with it, and with that one all others.
      outer.kill('SIGKILL');
      await ended;
    }
    await waitFor('the control groups to be empty', () => this.#removeGroups(), STOP_DEADLINE_MS);
  }

  #log(name: string): string {
    return join(this.folder, `${name}.log`);
  }

  /** Gives whether none is left. */
  #removeGroups(): boolean {
    for (const hierarchy of hierarchies()) {
      const top = join(hierarchy, this.group);
      if (!existsSync(top)) continue;
      const found = execFileSync('find', [top, '-depth', '-type', 'd'], { encoding: 'utf8' });
      for (const folder of found.split('\n').filter(Boolean)) {
        try {
          rmdirSync(folder);
        } catch {
          // Its last process is on its way out.
          return false;
        }
      }
    }
    return true;
  }
}

/** The command that runs `argv` in all namespaces of a node, which its first process tells. */
export function commandOn(first: number, argv: readonly string[]): [string, ...string[]] {
  return ['nsenter', '--target', String(first), '--pid', '--mount', '--net', '--', ...argv];
}

/** Where control groups are mounted: one for each controller of version 1, and that of version 2. */
function hierarchies(): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , kind]) => kind === 'cgroup' || kind === 'cgroup2')
    .map(([, folder]) => folder!);
}

function makeGroup(hierarchy: string, group: string): void {
  const folder = join(hierarchy, group);
  mkdirSync(folder, { recursive: true });
  // Beside processes of the root group it would count as one of them, whatever runs in it.
  const shares = join(folder, 'cpu.shares');
  if (existsSync(shares)) writeFileSync(shares, String(SHARES));
  // A group of version 1 has no processors and no memory until it is given some (cpusets(7)).
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    const own = join(folder, name);
    if (existsSync(own) && readFileSync(own, 'utf8').trim() === '' && existsSync(join(hierarchy, name)))
      writeFileSync(own, readFileSync(join(hierarchy, name)));
  }
}
