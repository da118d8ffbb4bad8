/** What every subject of the comparison has in common: where it starts, that it is ready, and its end. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LAB } from '../test/lab/namespaces.ts';
import type { Lab, Namespace } from '../test/lab/namespaces.ts';
import type { Sshd } from '../test/lab/sshd.ts';
import type { Entry } from './load.ts';
import { measure, PORTS } from './load.ts';

/** Milliseconds; sshuttle brings Python up at both ends. */
export const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 10_000;

/** One cipher for all, so that what differs is the program around it. */
export const CIPHER = 'aes128-gcm@openssh.com';

/** Where a subject runs, and where the bastion is to be reached: sshd itself, or a relay that adds delay. */
export interface Door {
  readonly lab: Lab;
  readonly host: Namespace;
  readonly sshd: Sshd;
  readonly port: number;
}

export interface Running {
  readonly host: Namespace;
  /** All processes of the subject, as they are now. */
  pids(): number[];
  /** Seconds from the start of the process to the first byte echoed by the target. */
  readonly startSeconds: number;
  entry(port: number): Entry;
  stop(): Promise<void>;
}

export interface Subject {
  readonly name: string;
  /** Why it cannot be measured here. */
  absent?(): string | undefined;
  start(door: Door): Promise<Running>;
}

/** The target by its own address: what a subject that captures lets an application use. */
export const transparent = (port: number): Entry => ({ address: LAB.target.v4, port });

/** What `ssh` needs to reach the door, without the destination. */
export function sshArguments(door: Door): string[] {
  return [
    ...['ssh', '-F', 'none', '-a', '-x', '-c', CIPHER, '-p', String(door.port)],
    ...['-i', door.sshd.clientKeyFile, '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes'],
    ...['-o', `UserKnownHostsFile=${knownHosts(door)}`, '-o', 'ExitOnForwardFailure=yes'],
  ];
}

export const destination = (door: Door): string => `${door.sshd.user}@${LAB.bastion.v4}`;

/** Text of the errors of a process, as far as they came. */
export function collect(child: ChildProcess): () => string {
  let text = '';
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return () => text.trim();
}

/**
 * A subject that has been started, once a byte came through it. `children` end last first, then `undo`
 * runs; both also when nothing came through.
 */
export async function running(
  door: Door,
  children: readonly ChildProcess[],
  started: number,
  entry: (port: number) => Entry,
  undo: () => Promise<void> = async () => {},
): Promise<Running> {
  const errors = children.map(collect);
  const stop = async (): Promise<void> => {
    for (const child of children.toReversed()) await end(child);
    await undo();
  };
  try {
    const { address, port } = entry(PORTS.echo);
    await measure(door.host, ['first', address, port, START_DEADLINE_MS]);
  } catch (error) {
    const said = errors.map((text) => text()).join('\n');
    await stop();
    throw new Error(`${(error as Error).message}; ${said}`, { cause: error });
  }
  const startSeconds = (performance.now() - started) / 1000;
  const pids = (): number[] => children.flatMap(({ pid }) => family(pid!));
  return { host: door.host, pids, startSeconds, entry, stop };
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(timer);
}

/** A process and all that it started; field 4 of proc_pid_stat(5) is the parent. */
function family(first: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  const found = [first];
  for (const pid of found) {
    for (const [child, parent] of parents) if (parent === pid) found.push(child);
  }
  return found;
}

/** The lab's known_hosts file names sshd's own port; a relay has another. */
export function knownHosts(door: Door): string {
  if (door.port === door.sshd.port) return door.sshd.knownHostsFile;
  const file = join(door.sshd.directory, `known_hosts_${door.port}`);
  const lines = readFileSync(door.sshd.knownHostsFile, 'utf8');
  writeFileSync(file, lines.replaceAll(`]:${door.sshd.port}`, `]:${door.port}`));
  return file;
}
