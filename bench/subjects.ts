/** What is compared: each subject is started in the app's namespace and reaches the same target. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { LAB } from '../test/lab/namespaces.ts';
import type { Lab } from '../test/lab/namespaces.ts';
import type { Sshd } from '../test/lab/sshd.ts';
import type { Entry } from './load.ts';
import { LOCAL_HALF, measure, PORTS } from './load.ts';

const root = resolve(import.meta.dirname, '..');
const START_DEADLINE_MS = 15_000;
const STOP_DEADLINE_MS = 10_000;

/** One cipher for all, so that what differs is the program around it. */
export const CIPHER = 'aes128-gcm@openssh.com';

/** Where the bastion is to be reached: sshd itself, or a relay that adds delay. */
export interface Door {
  readonly lab: Lab;
  readonly sshd: Sshd;
  readonly port: number;
}

export interface Running {
  readonly pid: number;
  /** Seconds from the start of the process to the first byte echoed by the target. */
  readonly startSeconds: number;
  entry(port: number): Entry;
  stop(): Promise<void>;
}

export interface Subject {
  readonly name: string;
  start(door: Door): Promise<Running>;
}

const netproxy: Subject = {
  name: 'netproxy',
  async start(door) {
    const started = performance.now();
    const child = door.lab.app.spawn(
      [
        process.execPath,
        join(root, 'dist/main.js'),
        'run',
        ...['--bastion', `ssh://${door.sshd.user}@${LAB.bastion.v4}:${door.port}`],
        ...['--identity', door.sshd.clientKeyFile],
        ...['--known-hosts', knownHosts(door)],
        ...['--log-level', 'warn'],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const errors = collect(child);
    const first = await Promise.race([
      once(child.stdout!, 'data').then(() => 'ready' as const),
      once(child, 'exit').then(() => 'exit' as const),
    ]);
    if (first === 'exit') throw new Error(`netproxy ended at its start: ${errors()}`);
    const entry = (port: number): Entry => ({ address: LAB.target.v4, port });
    return await running(door, child, started, entry);
  },
};

const sshLocalForward: Subject = {
  name: 'ssh -L',
  async start(door) {
    const started = performance.now();
    const forwards = Object.values(PORTS).flatMap((port) => [
      '-L',
      `127.0.0.1:${port}:${LAB.target.v4}:${port}`,
    ]);
    const child = door.lab.app.spawn(
      [
        ...['ssh', '-F', 'none', '-N', '-a', '-x', '-c', CIPHER, '-p', String(door.port)],
        ...['-i', door.sshd.clientKeyFile, '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes'],
        ...['-o', `UserKnownHostsFile=${knownHosts(door)}`, '-o', 'ExitOnForwardFailure=yes'],
        ...forwards,
        `${door.sshd.user}@${LAB.bastion.v4}`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const entry = (port: number): Entry => ({ address: '127.0.0.1', port });
    return await running(door, child, started, entry);
  },
};

/** The local half with nothing behind it; its figures are absolute, so it stands in our column. */
export const localHalf: Subject = {
  name: netproxy.name,
  async start(door) {
    const started = performance.now();
    const child = door.lab.app.spawn([process.execPath, join(import.meta.dirname, 'local-half.ts')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')]);
    return await running(door, child, started, (port) => ({ address: LOCAL_HALF.address, port }));
  },
};

/** The first is ours, the second the one that ratios are taken against. */
export const SUBJECTS: readonly Subject[] = [netproxy, sshLocalForward];

async function running(
  door: Door,
  child: ChildProcess,
  started: number,
  entry: (port: number) => Entry,
): Promise<Running> {
  const errors = collect(child);
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await exited;
    clearTimeout(timer);
  };
  try {
    const { address, port } = entry(PORTS.echo);
    await measure(door.lab.app, ['first', address, port, START_DEADLINE_MS]);
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}; ${errors()}`, { cause: error });
  }
  const startSeconds = (performance.now() - started) / 1000;
  return { pid: child.pid!, startSeconds, entry, stop };
}

function collect(child: ChildProcess): () => string {
  let text = '';
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return () => text.trim();
}

/** The lab's known_hosts file names sshd's own port; a relay has another. */
function knownHosts(door: Door): string {
  if (door.port === door.sshd.port) return door.sshd.knownHostsFile;
  const file = join(door.sshd.directory, `known_hosts_${door.port}`);
  const lines = readFileSync(door.sshd.knownHostsFile, 'utf8');
  writeFileSync(file, lines.replaceAll(`]:${door.sshd.port}`, `]:${door.port}`));
  return file;
}
