/** `netproxy exec` and `record` in a lab: a caller that only the bastion can be reached from. */
import { spawn } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { waitFor } from '../lab/namespaces.ts';
import type { World } from './world.ts';

export const main: string = resolve(import.meta.dirname, '../../dist/main.js');
export const DEADLINE_MS = 60_000;

/** A process with all that it said. */
export class Job {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
  }

  /** Waits for a text on standard output. */
  async says(text: string): Promise<void> {
    await waitFor(
      `"${text}" (${this.stderr})`,
      () => {
        if (this.child.exitCode !== null && !this.stdout.includes(text))
          throw new Error(`it ended with ${this.child.exitCode}: ${this.stdout}${this.stderr}`);
        return this.stdout.includes(text);
      },
      DEADLINE_MS,
    );
  }

  async ended(): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'close');
    const { exitCode: code, signalCode: signal } = this.child;
    return { code, signal, stdout: this.stdout, stderr: this.stderr };
  }
}

/** Starts `netproxy NAME FLAGS -- ARGV` in the caller's namespace, behind the command `before`. */
export function start(
  world: World,
  name: 'exec' | 'record',
  argv: readonly string[],
  {
    flags = [],
    before = [],
    ...options
  }: SpawnOptions & { flags?: readonly string[]; before?: readonly string[] } = {},
): Job {
  const all = [...before, process.execPath, main, name, ...world.flags, ...flags, '--', ...argv];
  const [file, ...rest] = world.lab.app.command(all);
  return new Job(spawn(file, rest, { stdio: ['pipe', 'pipe', 'pipe'], ...options }));
}

/** The same to its end, with `input` on its standard input. */
export async function run(
  world: World,
  name: 'exec' | 'record',
  argv: readonly string[],
  options: Parameters<typeof start>[3] & { input?: string } = {},
): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> {
  const { input = '', ...rest } = options;
  const job = start(world, name, argv, rest);
  job.child.stdin?.end(input);
  return job.ended();
}
