/** Namespaces, sshd, target servers and netproxy together, for the end-to-end tests. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join, resolve } from 'node:path';
import { createLab, LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd, SshdBuild } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';

const main = resolve(import.meta.dirname, '../../dist/main.js');
const CLIENT_DEADLINE_MS = 120_000;
const REFUSAL_DEADLINE_MS = 60_000;

export class Netproxy {
  readonly child: ChildProcess;
  readonly #closed: Promise<void>;
  stdout = '';
  stderr = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#closed = new Promise((resolve) => child.once('close', () => resolve()));
  }

  async ready(deadlineMs = 30_000): Promise<void> {
    await waitFor(
      'the ready line',
      () => {
        if (this.child.exitCode !== null) throw new Error(`netproxy ended:\n${this.stderr}`);
        return this.stdout.includes('\n');
      },
      deadlineMs,
    );
  }

  /** Sends the signal and gives the exit code, or the signal that ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await this.closed();
    return this.child.signalCode ?? this.child.exitCode;
  }

  /** Waits for its end, and for all that it said: at `exit` its last words may still be in the pipe. */
  async closed(): Promise<void> {
    await this.#closed;
  }
}

export interface WorldOptions {
  /** Address families of the application's namespace; both by default. */
  readonly families?: readonly (4 | 6)[];
  /** By which the bastion is reached; 4 by default. */
  readonly by?: 4 | 6;
  readonly sshd?: boolean;
  readonly config?: readonly string[];
  readonly password?: string;
  readonly build?: SshdBuild;
}

export class World {
  readonly lab: Lab;
  readonly sshd: Sshd;
  readonly #started: Netproxy[] = [];

  constructor(lab: Lab, sshd: Sshd) {
    this.lab = lab;
    this.sshd = sshd;
  }

  static async create(options: WorldOptions = {}): Promise<World> {
    const lab = await createLab(options.families === undefined ? {} : { families: options.families });
    const sshd = await startSshd({
      netns: lab.bastion.name,
      address: options.by === 6 ? LAB.bastion.v6 : LAB.bastion.v4,
      start: options.sshd ?? true,
      config: options.config ?? [],
      ...(options.build === undefined ? {} : { build: options.build }),
      ...(options.password === undefined ? {} : { password: options.password }),
    });
    const targets = lab.target.spawn([process.execPath, join(import.meta.dirname, 'target.ts')], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    targets.unref();
    await waitForPort(lab.target, PORTS.echo);
    return new World(lab, sshd);
  }

  /** Starts netproxy in the application's namespace; does not wait for it. */
  netproxy(...flags: string[]): Netproxy {
    return this.bare([...this.flags, ...flags]);
  }

  /** `netproxy run` to its end, with nothing but these arguments, environment and leading command. */
  async refused(
    args: readonly string[],
    { env = {}, before = [] }: { env?: NodeJS.ProcessEnv; before?: readonly string[] } = {},
  ): Promise<{ code: number | null; stderr: string }> {
    return this.lab.app.run([...before, process.execPath, main, 'run', ...args], {
      env: { ...process.env, ...env },
      timeoutMs: REFUSAL_DEADLINE_MS,
      mayFail: true,
    });
  }

  /** The three settings that every start needs, as flags. */
  get flags(): readonly string[] {
    const { user, address, port, clientKeyFile, knownHostsFile } = this.sshd;
    const bastion = `ssh://${user}@${address.includes(':') ? `[${address}]` : address}:${port}`;
    return ['--bastion', bastion, '--identity', clientKeyFile, '--known-hosts', knownHostsFile];
  }

  /** Starts netproxy with these arguments, environment and leading command only. */
  bare(args: readonly string[], env: NodeJS.ProcessEnv = {}, before: readonly string[] = []): Netproxy {
    const netproxy = new Netproxy(
      this.lab.app.spawn([...before, process.execPath, main, 'run', ...args], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    this.#started.push(netproxy);
    return netproxy;
  }

  /** Runs another command of netproxy in the application's namespace. */
  async command(...args: string[]): Promise<string> {
    return (await this.lab.app.run([process.execPath, main, ...args])).stdout;
  }

  /** Runs client.ts in the application's namespace. */
  async client<T>(mode: string, address: string, port: number, amount = 0): Promise<T> {
    const script = join(import.meta.dirname, 'client.ts');
    const { stdout, stderr } = await this.lab.app.run(
      [process.execPath, script, mode, address, String(port), String(amount)],
      { timeoutMs: CLIENT_DEADLINE_MS, mayFail: true },
    );
    assert.notEqual(stdout, '', `the client said nothing: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  /** Connections that the target has taken so far, also those that are over (RFC 4022, tcpPassiveOpens). */
  async accepted(): Promise<number> {
    const { stdout } = await this.lab.target.run(['cat', '/proc/net/snmp']);
    const count = /^Tcp: (?:-?\d+ ){5}(\d+) /m.exec(stdout)?.[1];
    assert.ok(count !== undefined, stdout);
    return Number(count);
  }

  /** Ends all that was started here, also when the test did not come to do so. */
  async close(): Promise<void> {
    await Promise.all(this.#started.map((netproxy) => netproxy.stop('SIGKILL')));
    await this.sshd.stop();
    await this.lab.cleanup();
  }
}
