/** Builds and runs `load.cc`, the traffic generator, and builds `local-half.cc`. */
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Namespace } from '../test/lab/namespaces.ts';

const PROGRAM = join(import.meta.dirname, 'build/load');
export const LOCAL_HALF_PROGRAM: string = join(import.meta.dirname, 'build/local-half');

/** Ports of `load serve`, and one where nothing listens. */
export const PORTS = { sink: 9100, source: 9101, echo: 9102, closed: 9103 } as const;

/** Where local-half.cc answers, and its TUN, which is as netproxy makes its own. */
export const LOCAL_HALF = {
  ...{ address: '198.19.0.1', device: 'local0', own: '198.19.255.1/32', mtu: 1500, queue: 10_000 },
} as const;

/** Where a subject lets the load generator reach one of the target's ports. */
export interface Entry {
  readonly address: string;
  readonly port: number;
}

export function buildPrograms(): void {
  const native = resolve(import.meta.dirname, '../native');
  const sources = globSync('{engine,packet,tcp,tun}/*.cc', { cwd: native });
  const headers = globSync('{.,engine,packet,tcp,tun}/*.h', { cwd: native });
  const own = (name: string): string => join(import.meta.dirname, name);
  const all = (names: readonly string[]): string[] => names.map((name) => join(native, name));
  build(PROGRAM, [own('load.cc')]);
  build(LOCAL_HALF_PROGRAM, [own('local-half.cc'), ...all(sources)], [`-I${native}`], all(headers));
}

function build(
  program: string,
  sources: readonly string[],
  flags: readonly string[] = [],
  headers: readonly string[] = [],
): void {
  const newest = Math.max(...[...sources, ...headers].map((file) => statSync(file).mtimeMs));
  if (existsSync(program) && statSync(program).mtimeMs > newest) return;
  mkdirSync(join(import.meta.dirname, 'build'), { recursive: true });
  const common = ['-std=c++20', '-O2', '-pthread', '-D_GNU_SOURCE', ...flags];
  execFileSync('g++', [...common, '-o', program, ...sources], { stdio: 'inherit' });
}

/** A running `load` whose lines are read one by one. */
export class Load {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(namespace: Namespace, args: readonly (string | number)[]) {
    this.child = namespace.spawn([PROGRAM, ...args.map(String)], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(this.#errors.trim() || 'load ended without a result');
    return value;
  }

  /** The next line, which is the result of a run. */
  async result<T>(): Promise<T> {
    return JSON.parse(await this.line()) as T;
  }

  /** Ends it: a mode that waits for the end of its input sees that, any other the signal. */
  async end(signal?: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const closed = once(this.child, 'close');
    this.child.stdin!.end();
    if (signal !== undefined) this.child.kill(signal);
    await closed;
  }
}

/** Runs `load` to its end and gives its result. */
export async function measure<T>(namespace: Namespace, args: readonly (string | number)[]): Promise<T> {
  const load = new Load(namespace, args);
  try {
    return await load.result<T>();
  } finally {
    await load.end();
  }
}

/** Starts a mode that serves until it is ended, and waits until it does. */
export async function serve(namespace: Namespace, args: readonly (string | number)[]): Promise<Load> {
  const load = new Load(namespace, args);
  await load.line();
  return load;
}
