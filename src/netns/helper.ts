/**
 * The helper in another network namespace (native/helper): netproxy stays where it is, and the helper makes the
 * TUN and sockets there, and runs `ip`, `nft` and a command of the user's. It ends when netproxy does, however.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';

import { NetproxyError } from '../core/errors.ts';
import { NET_COMMAND_DEADLINE_MS } from '../core/limits.ts';
import type { Native } from '../core/native.ts';
import { namespaceRefused } from './diagnose.ts';
import { FrameReader, KIND, frameOf, number32, strings } from './helper-frames.ts';
import type { Frame } from './helper-frames.ts';
import { runnerOf } from './runner.ts';
import type { Executed, NetRunner } from './runner.ts';

/** Where the helper lives: in namespaces that exist, by their paths, or in new ones. */
export type HelperPlace =
  | { readonly kind: 'enter'; readonly network: string; readonly user?: string | undefined }
  /** `resolvConf`: text that stands in the place of /etc/resolv.conf there. */
  | { readonly kind: 'new'; readonly resolvConf: string };

/** How a command ended: `code` of its exit, or the number of the `signal` that ended it. */
export type CommandEnd = { readonly code: number } | { readonly signal: number };

/** As of the addon: a checkout and an image keep it two levels up. */
const PLACES = ['../../native/build/Release/netns-helper', '../../native/netns-helper'];

const SIGNAL_BITS = 0x7f;

export class NetnsHelper {
  /** For `throughHelper`. */
  readonly channel: number;
  /** Acts on the helper's namespace. */
  readonly runner: NetRunner;
  readonly #child: ChildProcess;
  readonly #commands: Socket;
  readonly #waiting = new Map<number, (frame: Frame | undefined) => void>();
  readonly #lost = Promise.withResolvers<never>();
  #lastId = 0;
  #ended = false;
  #closing: Promise<void> | undefined;
  #covered = false;

  private constructor(child: ChildProcess, channel: number) {
    this.#child = child;
    this.channel = channel;
    // The fifth of `stdio` is a pipe.
    this.#commands = child.stdio[4] as Socket;
    this.runner = runnerOf(
      (argv, input) => this.#execute(argv, input),
      (path) => this.#read(path),
    );
    this.#lost.promise.catch(() => {});
    const reader = new FrameReader((frame) => {
      const done = this.#waiting.get(frame.id);
      this.#waiting.delete(frame.id);
      done?.(frame);
    });
    this.#commands.on('data', (chunk: Buffer) => reader.write(chunk));
    this.#commands.on('error', () => {});
    child.once('error', () => this.#gone());
    this.#commands.once('close', () => this.#gone());
  }

  /** Starts one. Throws NATIVE_MISSING, and NAMESPACE_REFUSED with what would allow it. */
  static async start(native: Native, place: HelperPlace): Promise<NetnsHelper> {
    const tried = PLACES.map((path) => fileURLToPath(new URL(path, import.meta.url)));
    const file = tried.find((path) => existsSync(path));
    if (file === undefined) throw new NetproxyError('NATIVE_MISSING', `no helper at ${tried.join(' or ')}`);
    const [channel, theirs] = native.socketPair('packets');
    const args =
      place.kind === 'new'
        ? ['new', place.resolvConf]
        : ['enter', place.network, ...(place.user === undefined ? [] : [place.user])];
    const child = spawn(file, args, { stdio: ['inherit', 'inherit', 'inherit', theirs, 'pipe'] });
    closeSync(theirs);
    const helper = new NetnsHelper(child, channel);
    await helper.#arrive(place);
    return helper;
  }

  /** The number of its network namespace (namespaces(7)). */
  get number(): string {
    return String(statSync(`/proc/${this.#child.pid}/ns/net`).ino);
  }

  /** Whether its resolv.conf is the one given. */
  get covered(): boolean {
    return this.#covered;
  }

  /** Rejects when the helper ends by itself. */
  get lost(): Promise<never> {
    return this.#lost.promise;
  }

  /**
   * Runs the user's command there, with our standard input, output and error, to its end. The errno, as a text such
   * as ENOENT, when there is no running it.
   */
  spawn(
    argv: readonly string[],
    environment: NodeJS.ProcessEnv,
  ): { id: number; end: Promise<CommandEnd | string> } {
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value ?? ''}`);
    const payload = Buffer.concat([number32(argv.length), strings([...argv, ...variables])]);
    const { id, answer } = this.#ask(KIND.spawn, payload);
    const end = answer.then((frame): CommandEnd | string => {
      const status = frame?.payload.readInt32LE(0) ?? constants.signals.SIGKILL;
      if (status < 0) return getSystemErrorName(status);
      const signal = status & SIGNAL_BITS;
      return signal === 0 ? { code: status >> 8 } : { signal };
    });
    return { id, end };
  }

  /** Sends a command a signal, by its number. */
  signal(id: number, signal: number): void {
    this.#send(KIND.signal, 0, Buffer.concat([number32(id), number32(signal)]));
  }

  /**
   * Ends it; what still runs of its commands is killed. Only here the channel's descriptor is closed, also where the
   * helper has ended by itself: until then its number must not become that of something else.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    // Without a number it was never started.
    const exited = pid === undefined || exitCode !== null || signalCode !== null;
    const exit = exited ? undefined : once(this.#child, 'exit');
    this.#ended = true;
    this.#commands.destroy();
    closeSync(this.channel);
    await exit;
  }

  async #arrive(place: HelperPlace): Promise<void> {
    const hello = await new Promise<Frame | undefined>((resolve) => this.#waiting.set(0, resolve));
    const error = hello?.payload.readInt32LE(0) ?? constants.errno.EPIPE;
    const said = hello?.payload.toString('utf8', 5) ?? 'the helper has ended';
    this.#covered = hello?.payload[4] === 1;
    if (error === 0) return;
    await this.close();
    throw await namespaceRefused(getSystemErrorName(-error), said, place.kind);
  }

  async #execute(argv: readonly string[], input: string): Promise<Executed> {
    const words = strings(argv);
    const payload = Buffer.concat([number32(words.length), words, Buffer.from(input)]);
    const { id, answer } = this.#ask(KIND.run, payload);
    const timer = setTimeout(() => this.signal(id, constants.signals.SIGKILL), NET_COMMAND_DEADLINE_MS);
    const frame = await answer;
    clearTimeout(timer);
    if (frame === undefined)
      return { stdout: '', stderr: '', error: new Error('the helper in the namespace has ended') };
    const status = frame.payload.readInt32LE(0);
    const length = frame.payload.readUInt32LE(4);
    const stdout = frame.payload.toString('utf8', 8, 8 + length);
    const stderr = frame.payload.toString('utf8', 8 + length);
    if (status === 0) return { stdout, stderr, error: null };
    const code = status < 0 ? getSystemErrorName(status) : undefined;
    const how = code ?? (status & SIGNAL_BITS ? `signal ${status & SIGNAL_BITS}` : `exit ${status >> 8}`);
    return { stdout, stderr, error: Object.assign(new Error(`${argv.join(' ')}: ${how}`), { code }) };
  }

  async #read(path: string): Promise<string | undefined> {
    const frame = await this.#ask(KIND.read, Buffer.from(path)).answer;
    return frame === undefined || frame.payload.readInt32LE(0) !== 0
      ? undefined
      : frame.payload.toString('utf8', 4);
  }

  /** The answer is undefined when there will be none. */
  #ask(kind: number, payload: Buffer): { id: number; answer: Promise<Frame | undefined> } {
    const id = ++this.#lastId;
    const answer = new Promise<Frame | undefined>((resolve) => {
      if (this.#ended) resolve(undefined);
      else this.#waiting.set(id, resolve);
    });
    this.#send(kind, id, payload);
    return { id, answer };
  }

  #send(kind: number, id: number, payload: Buffer): void {
    if (!this.#ended) this.#commands.write(frameOf(kind, id, payload));
  }

  #gone(): void {
    const expected = this.#ended;
    this.#ended = true;
    for (const done of this.#waiting.values()) done(undefined);
    this.#waiting.clear();
    if (!expected)
      this.#lost.reject(new NetproxyError('HELPER_LOST', 'the helper in the other namespace has ended'));
  }
}
