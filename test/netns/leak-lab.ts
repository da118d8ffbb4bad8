/** A world whose application never rests, watched by the leak oracle. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { readFilter } from '../../src/netns/filter-facts.ts';
import type { Layer } from '../../src/netns/desired.ts';
import { planTakeOver } from '../../src/netns/takeover.ts';
import { LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import { LeakOracle } from '../lab/oracle.ts';
import { INPUT, runnerIn } from './routes-lab.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

/** What restless.py does. */
export const KINDS = ['tcp', 'udp', 'dns', 'icmp', 'bound'] as const;
export type Kind = (typeof KINDS)[number] | 'old' | 'serve';

/** The bastion's other side, where somebody listens for connections that are older than netproxy. */
const BEYOND = { v4: LAB.bastion.far4, v6: LAB.bastion.far6 };

export class LeakLab {
  readonly world: World;
  readonly oracle: LeakOracle;
  readonly layers: readonly Layer[];
  netproxy: Netproxy | undefined;
  readonly #configFile: string;
  readonly #apps = new Map<ChildProcess, { rounds: number }>();

  private constructor(world: World, oracle: LeakOracle, layers: readonly Layer[]) {
    this.world = world;
    this.oracle = oracle;
    this.layers = layers;
    this.#configFile = join(world.sshd.directory, 'leaks.yaml');
  }

  static async create(layers: readonly Layer[]): Promise<LeakLab> {
    const world = await World.create();
    const { app, bastion } = world.lab;
    const script = "require('net').createServer((s) => s.on('error', () => {}).resume()).listen(7000, '::')";
    bastion.spawn([process.execPath, '-e', script], { stdio: 'ignore' }).unref();
    await waitForPort(bastion, 7000);
    const links = await app.ipJson<{ ifname: string; address: string }[]>('link');
    const oracle = await LeakOracle.start({
      namespace: bastion,
      device: 'port0',
      link: 'lan0',
      inside: links.filter(({ ifname }) => ifname === 'eth0').map(({ address }) => address),
      bastion: { address: LAB.bastion.v4, port: world.sshd.port },
      local: ['192.0.2.0/24', '2001:db8:1::/64'],
    });
    const lab = new LeakLab(world, oracle, layers);
    lab.configure();
    return lab;
  }

  /** Writes the configuration, as an editor does. */
  configure(more = ''): void {
    const { user, port, clientKeyFile, knownHostsFile } = this.world.sshd;
    const bastion = `name: main, host: ${LAB.bastion.v4}, port: ${port}, user: ${user}`;
    const text = `bastions: [{ ${bastion}, identityFile: ${clientKeyFile}, knownHostsFile: ${knownHostsFile} }]
layers: [${this.layers.join(', ')}]
watch: false
connectHold: 1s
${more}
`;
    writeFileSync(`${this.#configFile}.new`, text);
    renameSync(`${this.#configFile}.new`, this.#configFile);
  }

  /** Starts netproxy; a second one beside it is the caller's. */
  start(): Netproxy {
    this.netproxy = this.world.bare(['-c', this.#configFile]);
    return this.netproxy;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.netproxy?.stop(signal);
    this.netproxy = undefined;
  }

  /** Makes sure that one is running, ready, and has put right what was changed. */
  async running(): Promise<Netproxy> {
    const { child } = this.netproxy ?? {};
    const ended = child === undefined || child.exitCode !== null || child.signalCode !== null;
    const netproxy = ended ? this.start() : this.netproxy!;
    await netproxy.ready(30_000);
    const input = { ...INPUT, layers: this.layers };
    const runner = runnerIn(this.world.lab.app);
    await waitFor('nothing to do', async () => (await planTakeOver(input, runner)).length === 0, 30_000);
    return netproxy;
  }

  /** Starts an application, which has made its first attempts when this returns. */
  async app(...kinds: readonly Kind[]): Promise<ChildProcess> {
    const addresses = [LAB.app.v4, LAB.app.v6, BEYOND.v4, BEYOND.v6];
    const script = join(import.meta.dirname, 'restless.py');
    const child = this.world.lab.app.spawn(['python3', script, ...addresses, ...kinds], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const told = { rounds: 0 };
    this.#apps.set(child, told);
    child.stdout!.on('data', (dots: Buffer) => (told.rounds += dots.length));
    await this.attempts(1, child);
    return child;
  }

  /** Waits until every application, or this one, has tried all its ways so many times more. */
  async attempts(count: number, child?: ChildProcess): Promise<void> {
    const watched = [...this.#apps].filter(([app]) => child === undefined || app === child);
    const due = watched.map(([app, { rounds }]) => ({ app, rounds: rounds + count }));
    await waitFor(
      `${count} rounds of the application`,
      () => due.every(({ app, rounds }) => (this.#apps.get(app)?.rounds ?? Infinity) >= rounds),
      60_000,
    );
  }

  async endApp(child: ChildProcess): Promise<void> {
    this.#apps.delete(child);
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** Waits for the last question of ARP, which the kernel repeats for three seconds. */
  async asked(): Promise<void> {
    const neighbours = (): Promise<{ state: string[] }[]> =>
      this.world.lab.app.ipJson('neigh', 'show', 'dev', 'eth0');
    await waitFor('the end of ARP', async () =>
      (await neighbours()).every(({ state }) => !state.includes('INCOMPLETE')),
    );
    await this.oracle.look();
  }

  /** What the filter's own counter of leaks says; undefined where there is no table. */
  async leaked(): Promise<number | undefined> {
    const facts = await readFilter(runnerIn(this.world.lab.app));
    return facts.state === 'present' ? facts.memory.leaked.packets : undefined;
  }

  /** Asks a port of the application from beyond its link; gives what was answered, or "nothing". */
  async ask(kind: 'tcp' | 'udp'): Promise<string> {
    const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_${kind === 'tcp' ? 'STREAM' : 'DGRAM'})
s.settimeout(5)
s.bind(('${BEYOND.v4}', 0))
try:
    s.connect(('${LAB.app.v4}', 8000))
    s.send(b'hello')
    print(s.recv(100).decode())
except OSError:
    print('nothing')
`;
    return (await this.world.lab.bastion.run(['python3', '-c', script])).stdout.trim();
  }

  async close(): Promise<void> {
    for (const child of this.#apps.keys()) child.kill('SIGKILL');
    try {
      await this.oracle.stop();
    } finally {
      await this.world.close();
    }
  }
}
