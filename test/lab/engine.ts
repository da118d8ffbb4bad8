/**
 * A container engine of its own for tests: dockerd in a network namespace that is "the machine", with its own data,
 * sockets, resolv.conf and log, so that no engine, bridge or rule of the real machine is touched. Engines and images
 * are those that .ci/engine.mjs made ready.
 *
 * ```
 *  lab.app, "the machine"                     lab.bastion        lab.target
 *    dockerd ── bridge ── containers
 *                 └─ NAT ── eth0 192.0.2.10 ─── 192.0.2.1 sshd ──── 198.51.100.80
 * ```
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';

import { waitFor } from './namespaces.ts';
import type { Namespace, RunOptions, RunResult } from './namespaces.ts';

/** An engine: the machine's, or one that is unpacked below `root`. */
export interface EngineBuild {
  readonly name: 'oldest' | 'newest';
  readonly root: string;
}

/** What .ci/engine.mjs says. */
interface Prepared {
  /** Of the state of the sources that the images were made of. */
  readonly id: string;
  readonly tar: string;
  readonly newest: string;
  readonly cache: string;
}

const checkout = resolve(import.meta.dirname, '../..');
const record = join(checkout, 'node_modules/.cache/netproxy/engine.json');
const READY_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 30_000;
const LOAD_DEADLINE_MS = 240_000;
/** Engines of one build that may run at once, each with data of its own. */
const SLOTS = 6;

/** What .ci/engine.mjs made ready. */
export function prepared(): Prepared {
  if (!existsSync(record)) throw new Error('run first: node .ci/with-runtime.mjs --root .ci/engine.mjs');
  return JSON.parse(readFileSync(record, 'utf8')) as Prepared;
}

/** The engines that tests run on, the oldest first. */
export function engineBuilds(): readonly [EngineBuild, EngineBuild] {
  return [
    { name: 'oldest', root: '/' },
    { name: 'newest', root: prepared().newest },
  ];
}

/** Tags of the images that every engine has. */
export const IMAGES = {
  netproxy: 'netproxy',
  anchor: 'netproxy-anchor',
  relay: 'netproxy-relay',
  /** Node on Debian: what a container of a test runs. */
  node: baseTag(),
} as const;

function baseTag(): string {
  const dockerfile = readFileSync(join(checkout, 'docker/Dockerfile'), 'utf8');
  return /^ARG NODE_IMAGE=(\S+)$/m.exec(dockerfile)?.[1] ?? '';
}

export interface EngineOptions {
  /** The newest by default. */
  readonly build?: EngineBuild;
  /** Text of the machine's resolv.conf; without nameservers by default. */
  readonly resolvConf?: string;
  /** Further flags of dockerd. */
  readonly flags?: readonly string[];
}

export interface ProjectOptions {
  readonly name: string;
  /** Compose files, the later ones over the earlier. */
  readonly files: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts an engine in `machine`, and returns when it answers and has the images. */
export async function startEngine(machine: Namespace, options: EngineOptions = {}): Promise<Engine> {
  const build = options.build ?? engineBuilds()[1];
  const folder = join(prepared().cache, 'engines', `data-${build.name}`);
  mkdirSync(folder, { recursive: true });
  for (let slot = 0; slot < SLOTS; slot++) {
    const lock = await takeLock(join(folder, `${slot}.lock`));
    if (lock === undefined) continue;
    const engine = new Engine(
      machine,
      build,
      options,
      join(folder, String(slot)),
      `${build.name}-${slot}`,
      lock,
    );
    try {
      await engine.endLeft();
      await engine.start();
      await engine.clear();
      await engine.load();
      return engine;
    } catch (error) {
      await engine.stop();
      throw error;
    }
  }
  throw new Error(`${SLOTS} engines run already`);
}

/** Holds a file's lock until it is killed, or we are. Gives undefined when somebody else has it. */
export async function takeLock(file: string): Promise<ChildProcess | undefined> {
  const held = spawn('flock', ['--nonblock', file, 'sh', '-c', 'echo held; read -r _'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const [first] = (await Promise.race([once(held.stdout, 'data'), once(held, 'exit')])) as unknown[];
  if (!(first instanceof Buffer)) return undefined;
  held.unref();
  held.stdout.destroy();
  return held;
}

export class Engine {
  readonly machine: Namespace;
  readonly build: EngineBuild;
  readonly socket: string;
  readonly logFile: string;
  readonly #data: string;
  readonly #exec: string;
  readonly #flags: readonly string[];
  readonly #resolvConf: string;
  readonly #lock: ChildProcess;
  #child: ChildProcess | undefined;

  constructor(
    machine: Namespace,
    build: EngineBuild,
    options: EngineOptions,
    data: string,
    name: string,
    lock: ChildProcess,
  ) {
    this.machine = machine;
    this.build = build;
    this.#data = data;
    // Short: a path of a socket has at most 107 bytes (unix(7)).
    this.#exec = `/run/netproxy-engine/${name}`;
    this.socket = `${this.#exec}/docker.sock`;
    this.logFile = `${this.#exec}/log`;
    this.#resolvConf = `${this.#exec}/resolv.conf`;
    this.#flags = options.flags ?? [];
    this.#lock = lock;
    mkdirSync(this.#exec, { recursive: true });
    writeFileSync(this.#resolvConf, options.resolvConf ?? '');
  }

  /** Process number of dockerd, or undefined while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Environment of the client: where the engine is, and its plugins. */
  get environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      DOCKER_HOST: `unix://${this.socket}`,
      DOCKER_CONFIG: join(prepared().newest, 'config'),
      PATH: `${join(prepared().newest, 'usr/bin')}:${process.env['PATH'] ?? ''}`,
      LC_ALL: 'C',
    };
  }

  /** Starts dockerd and waits until it answers. */
  async start(): Promise<void> {
    const { root } = this.build;
    const path = [join(root, 'usr/sbin'), join(root, 'usr/bin'), '/usr/sbin:/usr/bin:/sbin:/bin'].join(':');
    // The bind mount is dockerd's alone. Only the network namespace is entered: `ip netns exec` would hide the
    // control groups.
    const script = 'mount --bind "$0" /etc/resolv.conf && exec dockerd "$@"';
    const flags = ['--data-root', `${this.#data}/docker`, '--exec-root', `${this.#exec}/exec`];
    const places = ['-H', `unix://${this.socket}`, '--pidfile', `${this.#exec}/pid`];
    const words = [
      ...flags,
      ...places,
      '--storage-driver',
      'overlay2',
      '--shutdown-timeout',
      '5',
      ...this.#flags,
    ];
    const log = openSync(this.logFile, 'a');
    // Ends in order, and its containers with it, also when we are killed.
    const before = ['setpriv', '--pdeathsig', 'TERM', 'unshare', '--mount', 'sh', '-c', script];
    const child = this.machine.spawn([...before, this.#resolvConf, ...words], {
      stdio: ['ignore', log, log],
      env: { ...process.env, PATH: path },
    });
    closeSync(log);
    child.unref();
    this.#child = child;
    await waitFor(
      `dockerd (${this.build.name})`,
      async () => {
        if (child.exitCode !== null) throw new Error(`dockerd ended:\n${this.log().slice(-8000)}`);
        return (await this.docker(['version'], { mayFail: true })).code === 0;
      },
      READY_DEADLINE_MS,
    );
  }

  /** Ends dockerd alone: with SIGTERM its containers end in order, with SIGKILL they go on. */
  async halt(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.ref();
    const ended = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await ended;
    clearTimeout(late);
  }

  async restart(): Promise<void> {
    await this.halt();
    await this.start();
  }

  /** Ends everything that was started here; the images stay for the next one. */
  async stop(): Promise<void> {
    if (this.#child !== undefined) await this.clear().catch(() => {});
    await this.halt();
    await this.endLeft();
    this.#lock.kill();
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** Runs the client. Throws with its output when it fails, unless `mayFail`. */
  docker(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.machine.run(['docker', ...args], {
      ...options,
      env: { ...this.environment, ...options.env },
    });
  }

  /** What `docker inspect` says of one thing, or of one part of it by a template of Go's. */
  async inspect<T>(name: string, part = '.'): Promise<T> {
    const { stdout } = await this.docker(['inspect', '--format', `{{json ${part}}}`, name]);
    return JSON.parse(stdout) as T;
  }

  /** Runs a command in a container. */
  exec(container: string, argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.docker(['exec', ...(options.input === undefined ? [] : ['-i']), container, ...argv], options);
  }

  project(options: ProjectOptions): Project {
    return new Project(this, options);
  }

  /** Removes containers, networks and volumes; images stay. */
  async clear(): Promise<void> {
    const { stdout } = await this.docker(['ps', '--all', '--quiet', '--no-trunc']);
    const containers = stdout.split('\n').filter(Boolean);
    if (containers.length > 0) await this.docker(['rm', '--force', '--volumes', ...containers]);
    await this.docker(['network', 'prune', '--force']);
    await this.docker(['volume', 'prune', '--force']);
  }

  /** Gives the engine the images of this state of the sources, unless it has them. */
  async load(): Promise<void> {
    const { id, tar } = prepared();
    const mark = `netproxy-loaded:${id}`;
    if ((await this.docker(['image', 'inspect', mark], { mayFail: true })).code === 0) return;
    const { stdout } = await this.docker([
      'image',
      'ls',
      '--format',
      '{{.Repository}}:{{.Tag}}',
      'netproxy-loaded',
    ]);
    const old = stdout.split('\n').filter(Boolean);
    await this.docker(['load', '--quiet', '--input', tar], { timeoutMs: LOAD_DEADLINE_MS });
    await this.docker(['tag', IMAGES.netproxy, mark]);
    if (old.length > 0) await this.docker(['rmi', ...old], { mayFail: true });
    await this.docker(['image', 'prune', '--force'], { mayFail: true });
  }

  /** What a dockerd that was killed has left: itself, its containerd, and containers without their engine. */
  async endLeft(): Promise<void> {
    const containers = `${this.#data}/docker/containers`;
    const ids = existsSync(containers) ? readdirSync(containers) : [];
    const left = (): number[] =>
      readdirSync('/proc').flatMap((name) => {
        if (!/^\d+$/.test(name)) return [];
        const command = read(`/proc/${name}/cmdline`);
        const groups = read(`/proc/${name}/cgroup`);
        const ours = command.includes(`${this.#exec}/`) || ids.some((id) => groups.includes(id));
        return ours && !command.startsWith('flock') && Number(name) !== process.pid ? [Number(name)] : [];
      });
    await waitFor(
      `what ${this.#exec} has left to end`,
      () => {
        const pids = left();
        for (const pid of pids) kill(pid);
        return pids.length === 0;
      },
      STOP_DEADLINE_MS,
    );
  }
}

/** What `docker compose` makes of some files. */
export class Project {
  readonly engine: Engine;
  readonly name: string;
  readonly #options: ProjectOptions;

  constructor(engine: Engine, options: ProjectOptions) {
    this.engine = engine;
    this.name = options.name;
    this.#options = options;
  }

  /** Runs `docker compose` with these words. */
  compose(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const files = this.#options.files.flatMap((file) => ['--file', file]);
    return this.engine.docker(['compose', '--project-name', this.name, ...files, ...words], {
      timeoutMs: 120_000,
      ...options,
      env: { ...this.#options.env, ...options.env },
    });
  }

  /** Starts the services, or those named, and waits until they run and are healthy. */
  async up(...words: string[]): Promise<void> {
    await this.compose(['up', '--detach', '--wait', ...words]);
  }

  /** Id of the container of a service. */
  async container(service: string): Promise<string> {
    const { stdout } = await this.compose(['ps', '--all', '--quiet', service]);
    return stdout.trim();
  }

  /** Runs a command in the container of a service. */
  exec(service: string, argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.compose(['exec', '-T', service, ...argv], options);
  }

  /** Log of a service. */
  async logs(service: string): Promise<string> {
    return (await this.compose(['logs', '--no-color', '--no-log-prefix', service])).stdout;
  }

  async down(): Promise<void> {
    await this.compose(['down', '--volumes', '--timeout', '2']);
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    // It ended while we looked.
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended already.
  }
}
