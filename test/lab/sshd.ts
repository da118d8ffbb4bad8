/**
 * A real OpenSSH server for tests, the demo and the bench: own directory, keys, configuration and
 * log, so that nothing of the machine's own sshd is touched.
 */
import { execFile, spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** An OpenSSH server: the machine's, or one that is unpacked below `root`. */
export interface SshdBuild {
  readonly name: string;
  readonly root: string;
}

const MACHINE: SshdBuild = { name: 'the machine', root: '' };

/** The machine's, and a newer one when `npm run setup` could fetch it. */
export const SSHD_BUILDS: readonly SshdBuild[] = [
  MACHINE,
  {
    name: 'newer',
    root: path.resolve(import.meta.dirname, '../../node_modules/.cache/netproxy/openssh'),
  },
].filter(({ root }) => existsSync(`${root}/usr/sbin/sshd`));

/** sshd refuses to start without its privilege separation directory. */
const PRIVSEP_DIRECTORY = '/run/sshd';
const READY_DEADLINE_MS = 10_000;
const PROBE_INTERVAL_MS = 20;
const PROBE_DEADLINE_MS = 1_000;

export interface SshdOptions {
  /** Address to listen on; 127.0.0.1 by default. */
  readonly address?: string;
  /** Port; by default a free one, or 2222 inside a network namespace. */
  readonly port?: number;
  /** Name of a network namespace of `ip netns` to run in. */
  readonly netns?: string;
  /** With the files of /etc/netns/NAME over those of /etc, in a namespace. */
  readonly etc?: true;
  /** Lines that go before ours in sshd_config, where the first value of a keyword wins. */
  readonly config?: readonly string[];
  /** Further names for the known_hosts file, each written with the port. */
  readonly names?: readonly string[];
  /** PAM asks for this password, by a service of the server's own; the machine's accounts stay as they are. */
  readonly password?: string;
  /** Which OpenSSH; the machine's by default. */
  readonly build?: SshdBuild;
  /** File descriptors that each of its processes may have. */
  readonly descriptors?: number;
  /** False prepares everything and leaves the server down until `start()`; true by default. */
  readonly start?: boolean;
}

export interface Sshd {
  readonly directory: string;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly hostKeyFile: string;
  readonly clientKeyFile: string;
  readonly knownHostsFile: string;
  readonly authorizedKeysFile: string;
  readonly configFile: string;
  readonly logFile: string;
  /** Process number of the listener, or undefined while the server is down. */
  readonly pid: number | undefined;
  /** Starts the server and waits until it answers. */
  start(): Promise<void>;
  /** Ends the listener and every connection, with no word to the clients. */
  halt(): Promise<void>;
  /** `halt()` and `start()`, on the same port. */
  restart(): Promise<void>;
  /** Ends every connection; the listener goes on. */
  dropConnections(): void;
  /** `halt()`, and removes the directory. */
  stop(): Promise<void>;
  /** What the server logged so far. */
  log(): string;
}

/** Starts a server as the current user, who is also the one to log in as. */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  mkdirSync(PRIVSEP_DIRECTORY, { recursive: true, mode: 0o755 });
  const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-sshd-'));
  const address = options.address ?? '127.0.0.1';
  const port = options.port ?? (options.netns === undefined ? await freePort(address) : 2222);
  const file = (name: string): string => path.join(directory, name);

  await makeKey(file('host_key'));
  await makeKey(file('client_key'));
  const hostKey = readFileSync(file('host_key.pub'), 'utf8').split(' ').slice(0, 2).join(' ');
  writeFileSync(file('authorized_keys'), readFileSync(file('client_key.pub')));
  const names = [address, ...(options.names ?? [])].map((name) => (port === 22 ? name : `[${name}]:${port}`));
  writeFileSync(file('known_hosts'), `${names.join(',')} ${hostKey}\n`);
  if (options.password !== undefined) makePamService(file('pam.d'), directory, options.password);
  const build = options.build ?? MACHINE;
  const config = [
    ...(options.config ?? []),
    ...partsOf(build),
    ...(options.password === undefined ? [] : PAM_CONFIG),
    `Port ${port}`,
    `ListenAddress ${address}`,
    `HostKey ${file('host_key')}`,
    `PidFile none`,
    `AuthorizedKeysFile ${file('authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'MaxStartups 100',
    'LogLevel VERBOSE',
  ];
  writeFileSync(file('sshd_config'), `${config.join('\n')}\n`);
  writeFileSync(file('log'), '');

  const server = new LabSshd(directory, address, port, options.netns, {
    descriptors: options.descriptors,
    pam: options.password !== undefined,
    etc: options.etc === true,
    program: `${build.root}/usr/sbin/sshd`,
  });
  if (options.start !== false) await server.start();
  return server;
}

/** Writes an ed25519 key pair (or another type) at `file` and `file.pub`. */
export async function makeKey(file: string, type = 'ed25519', passphrase = ''): Promise<void> {
  await run('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', 'netproxy-lab', '-f', file]);
}

const PAM_CONFIG = [
  'UsePAM yes',
  'PermitRootLogin yes',
  'PasswordAuthentication yes',
  'KbdInteractiveAuthentication yes',
];

/** What the server sees in the place of /etc/pam.d. */
function makePamService(services: string, directory: string, password: string): void {
  const check = path.join(directory, 'check-password');
  const expected = path.join(directory, 'password');
  writeFileSync(expected, `${password}\n`);
  writeFileSync(check, `#!/bin/sh\n[ "$(tr -d '\\000')" = "$(cat ${expected})" ]\n`, { mode: 0o755 });
  mkdirSync(services);
  writeFileSync(
    path.join(services, 'sshd'),
    `auth required pam_exec.so quiet expose_authtok ${check}
auth required pam_permit.so
account required pam_permit.so
session required pam_permit.so
`,
  );
}

/** From 9.8 on sshd consists of several programs, whose places are compiled in. */
const hasParts = ({ root }: SshdBuild): boolean => existsSync(`${root}/usr/lib/openssh/sshd-session`);

/** Those that know PerSourcePenalties, as 9.8 and newer do. */
export const PUNISHING_BUILDS: readonly SshdBuild[] = SSHD_BUILDS.filter(hasParts);

function partsOf({ root }: SshdBuild): string[] {
  const folder = `${root}/usr/lib/openssh`;
  const parts = { SshdSessionPath: 'sshd-session', SshdAuthPath: 'sshd-auth' };
  return Object.entries(parts).flatMap(([keyword, name]) =>
    root !== '' && existsSync(`${folder}/${name}`) ? [`${keyword} ${folder}/${name}`] : [],
  );
}

interface How {
  readonly descriptors: number | undefined;
  readonly pam: boolean;
  readonly etc: boolean;
  readonly program: string;
}

class LabSshd implements Sshd {
  readonly directory: string;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly #netns: string | undefined;
  readonly #how: How;
  #child: ChildProcess | undefined;
  readonly #onExit = (): void => this.#killAll();

  constructor(directory: string, address: string, port: number, netns: string | undefined, how: How) {
    this.#how = how;
    this.directory = directory;
    this.address = address;
    this.port = port;
    this.user = os.userInfo().username;
    this.#netns = netns;
    process.once('exit', this.#onExit);
  }

  get hostKeyFile(): string {
    return path.join(this.directory, 'host_key');
  }
  get clientKeyFile(): string {
    return path.join(this.directory, 'client_key');
  }
  get knownHostsFile(): string {
    return path.join(this.directory, 'known_hosts');
  }
  get authorizedKeysFile(): string {
    return path.join(this.directory, 'authorized_keys');
  }
  get configFile(): string {
    return path.join(this.directory, 'sshd_config');
  }
  get logFile(): string {
    return path.join(this.directory, 'log');
  }
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  async start(): Promise<void> {
    if (this.#child !== undefined) return;
    // Ends with us, also when we are killed.
    const command = [
      ...this.#inNetns(),
      'setpriv',
      '--pdeathsig',
      'KILL',
      ...(this.#how.descriptors === undefined ? [] : ['prlimit', `--nofile=${this.#how.descriptors}`]),
      ...(this.#how.pam ? this.#inOwnMounts() : []),
      this.#how.program,
      '-D',
      '-f',
      this.configFile,
      '-E',
      this.logFile,
    ];
    const child = spawn(command[0]!, command.slice(1), { stdio: 'ignore' });
    // A test that failed may not have stopped it; it ends with us all the same.
    child.unref();
    this.#child = child;
    let gone = false;
    child.once('error', () => (gone = true));
    child.once('exit', () => (gone = true));
    const deadline = Date.now() + READY_DEADLINE_MS;
    while (!(await this.#answers())) {
      if (gone || Date.now() > deadline) {
        const why = gone ? 'ended' : `did not answer within ${READY_DEADLINE_MS} ms`;
        await this.halt();
        throw new Error(`sshd on ${this.address}:${this.port} ${why}:\n${this.log()}`);
      }
      await sleep(PROBE_INTERVAL_MS);
    }
  }

  async halt(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.ref();
    const ended =
      child.exitCode !== null || child.signalCode !== null
        ? Promise.resolve()
        : new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#killAll();
    await ended;
  }

  async restart(): Promise<void> {
    await this.halt();
    appendFileSync(this.logFile, '--- restart ---\n');
    await this.start();
  }

  dropConnections(): void {
    if (this.pid !== undefined) for (const pid of descendants(this.pid)) kill(pid, 'SIGKILL');
  }

  async stop(): Promise<void> {
    await this.halt();
    process.removeListener('exit', this.#onExit);
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** The machine's own /etc/pam.d stays as it is, also when we are killed. */
  #inOwnMounts(): string[] {
    const script = 'mount --bind "$0" /etc/pam.d && exec "$@"';
    return ['unshare', '--mount', 'sh', '-c', script, path.join(this.directory, 'pam.d')];
  }

  /** The listener is stopped first, so that no connection is born between the list and the kill. */
  #killAll(): void {
    const pid = this.pid;
    const running = this.#child?.exitCode === null && this.#child.signalCode === null;
    this.#child = undefined;
    if (pid === undefined || !running) return;
    kill(pid, 'SIGSTOP');
    for (const descendant of descendants(pid)) kill(descendant, 'SIGKILL');
    kill(pid, 'SIGKILL');
  }

  #inNetns(): string[] {
    if (this.#netns === undefined) return [];
    if (this.#how.etc) return ['ip', 'netns', 'exec', this.#netns];
    return ['nsenter', `--net=/run/netns/${this.#netns}`];
  }

  /** Ready means that a banner is sent; a namespace is probed from inside. */
  async #answers(): Promise<boolean> {
    if (this.#netns === undefined) return await readsBanner(this.address, this.port);
    const [command, ...args] = [
      ...this.#inNetns(),
      'timeout',
      String(PROBE_DEADLINE_MS / 1000),
      'bash',
      // With a socket for its input it takes itself for a remote shell, and would read ~/.bashrc.
      '--norc',
      '-c',
      'exec 3<>"/dev/tcp/$0/$1" && head -c 4 <&3',
      this.address,
      String(this.port),
    ];
    try {
      const { stdout } = await run(command, args);
      return stdout === 'SSH-';
    } catch {
      return false;
    }
  }
}

function readsBanner(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: address, port });
    const answer = (yes: boolean): void => {
      resolve(yes);
      socket.destroy();
    };
    socket.setTimeout(PROBE_DEADLINE_MS, () => answer(false));
    socket.once('data', (data) => answer(data.toString('latin1').startsWith('SSH-')));
    socket.once('error', () => answer(false));
    socket.once('end', () => answer(false));
  });
}

/**
 * A port that nobody has, and that the kernel gives to no connection before somebody listens: below the range that
 * it takes those from (net.ipv4.ip_local_port_range).
 */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = net.createServer();
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once('error', resolve);
      server.listen(port, address, () => server.close(() => resolve(undefined)));
    });
    if (error === undefined) return port;
    if (error.code !== 'EADDRINUSE') throw error;
  }
}

/** Every process below `root`. sshd's children are in sessions of their own, so no group holds them. */
function descendants(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // The second field is the command in parentheses, which may hold anything.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It ended while we looked.
    }
  }
  const found: number[] = [];
  const queue = [root];
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    const below = children.get(pid) ?? [];
    found.push(...below);
    queue.push(...below);
  }
  return found;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended already.
  }
}
