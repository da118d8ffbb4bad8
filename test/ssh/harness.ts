/** Real targets, byte patterns and streams for the tests of `src/ssh`. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, ChannelEnd, DialFailure, Dialer } from '../../src/core/dialer.ts';
import type { Endpoint } from '../../src/core/flow.ts';
import { FLOW_SEND_HIGH_WATER_BYTES } from '../../src/core/limits.ts';
import type { Log } from '../../src/core/log.ts';
import type { ByteSink, ByteSource } from '../../src/core/stream.ts';
import { Bastion } from '../../src/ssh/bastion.ts';
import type { BastionOptions } from '../../src/ssh/bastion.ts';
import { readIdentity } from '../../src/ssh/identity.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { keyLogin } from '../../src/ssh/login.ts';
import type { SocketFactory } from '../../src/ssh/transport.ts';
import type { Sshd } from '../lab/sshd.ts';

export const MIB: number = 1024 * 1024;
export const ORIGIN: Endpoint = { address: '192.0.2.1', port: 40000 };

/** Not a power of two, so that a block put in the wrong place never fits by chance. */
const PATTERN = randomBytes(MIB + 7);
const DOUBLE = Buffer.concat([PATTERN, PATTERN]);

/** `length` bytes of the endless pattern from `offset` on, as a view. */
export function pattern(offset: number, length: number): Buffer {
  const start = offset % PATTERN.length;
  return DOUBLE.subarray(start, start + Math.min(length, PATTERN.length));
}

/** Counts bytes and remembers where they first departed from the pattern. */
export class PatternCheck {
  bytes = 0;
  wrongAt: number | undefined;

  add(chunk: Uint8Array): void {
    for (let done = 0; done < chunk.length;) {
      const expected = pattern(this.bytes, Math.min(chunk.length - done, PATTERN.length));
      const part = chunk.subarray(done, done + expected.length);
      if (this.wrongAt === undefined && expected.compare(part) !== 0) this.wrongAt = this.bytes;
      this.bytes += part.length;
      done += part.length;
    }
  }
}

/** Waits until every target has read `total` right bytes: a channel ends when both EOFs were sent. */
export async function arrived(checks: readonly PatternCheck[], total: number): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (checks.some((check) => check.bytes < total) && Date.now() < deadline) await sleep(5);
  for (const check of checks) assert.deepEqual([check.bytes, check.wrongAt], [total, undefined]);
}

/** Gives `total` bytes of the pattern in chunks of varying size, through one memory, then ends. */
export class PatternSource implements ByteSource {
  readonly #total: number;
  readonly #memory = Buffer.alloc(64 * 1024);
  given = 0;

  constructor(total: number) {
    this.#total = total;
  }

  take(max: number): Uint8Array | undefined {
    const left = this.#total - this.given;
    if (left === 0) return undefined;
    const size = Math.min(max, left, this.#memory.length, 1 + ((this.given * 7919) % 40_000));
    pattern(this.given, size).copy(this.#memory);
    return this.#memory.subarray(0, size);
  }

  taken(bytes: number): void {
    this.given += bytes;
    // Whoever still holds the last chunk sees it change.
    this.#memory.fill(0xee, 0, bytes);
  }

  get ended(): boolean {
    return this.given === this.#total;
  }
}

/** A source that is fed by hand. */
export class ManualSource implements ByteSource {
  readonly #chunks: Buffer[] = [];
  #ending = false;

  push(text: string | Buffer): void {
    this.#chunks.push(Buffer.from(text));
  }

  end(): void {
    this.#ending = true;
  }

  take(max: number): Uint8Array | undefined {
    return this.#chunks[0]?.subarray(0, max);
  }

  taken(bytes: number): void {
    const rest = this.#chunks[0]!.subarray(bytes);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
  }

  get ended(): boolean {
    return this.#ending && this.#chunks.length === 0;
  }
}

/** Checks against the pattern and never lags. */
export class PatternSink implements ByteSink {
  readonly check = new PatternCheck();
  ended = false;

  write(chunk: Uint8Array): number {
    this.check.add(chunk);
    return 0;
  }

  end(): void {
    this.ended = true;
  }
}

/** Keeps what it gets as text. */
export class TextSink implements ByteSink {
  text = '';
  ended = false;
  #wake: (() => void) | undefined;

  write(chunk: Uint8Array): number {
    this.text += Buffer.from(chunk).toString();
    this.#wake?.();
    return 0;
  }

  end(): void {
    this.ended = true;
    this.#wake?.();
  }

  /** Waits until `done` holds. */
  async until(done: (sink: TextSink) => boolean): Promise<void> {
    while (!done(this)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

/** Queues, and is read at the test's will. */
export class SlowSink implements ByteSink {
  queued = 0;
  most = 0;
  total = 0;
  ended = false;

  write(chunk: Uint8Array): number {
    this.queued += chunk.length;
    this.total += chunk.length;
    this.most = Math.max(this.most, this.queued);
    return this.queued;
  }

  end(): void {
    this.ended = true;
  }

  /** Reads everything. True when the producer must be told. */
  read(): boolean {
    const lagged = this.queued > FLOW_SEND_HIGH_WATER_BYTES;
    this.queued = 0;
    return lagged;
  }
}

export interface OpenChannel {
  readonly channel: Channel;
  readonly ended: Promise<ChannelEnd>;
}

/** Dials and starts; rejects with the failure as the error's cause. */
export function open(
  dialer: Dialer,
  target: Endpoint,
  source: ByteSource,
  sink: ByteSink,
): Promise<OpenChannel> {
  return new Promise((resolve, reject) => {
    dialer.dial(target, ORIGIN, {
      opened: (channel) => {
        const ended = new Promise<ChannelEnd>((done) => channel.start(source, sink, done));
        resolve({ channel, ended });
      },
      failed: (failure) => reject(new Error(failure.message, { cause: failure })),
    });
  });
}

/** The failure of a dial that must fail. */
export function failureOf(dialer: Dialer, target: Endpoint): Promise<DialFailure> {
  return new Promise((resolve, reject) => {
    dialer.dial(target, ORIGIN, {
      opened: () => reject(new Error('the dial succeeded')),
      failed: resolve,
    });
  });
}

/** Ends what the tests of a file made here: bastions, targets. One that failed did not come to do so. */
const made = new Set<() => Promise<void>>();

/** For `after` or `afterEach`: without it a test that fails leaves a file that never ends. */
export async function release(): Promise<void> {
  const ends = [...made];
  made.clear();
  await Promise.all(ends.map((end) => end()));
}

export interface Target {
  readonly endpoint: Endpoint;
  readonly sockets: Set<net.Socket>;
  close(): Promise<void>;
}

/** A TCP server; `serve` gets each connection. Half-open is allowed. */
export async function listen(serve: (socket: net.Socket) => void, address = '127.0.0.1'): Promise<Target> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as net.AddressInfo;
  const close = async (): Promise<void> => {
    made.delete(close);
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  made.add(close);
  return { endpoint: { address, port }, sockets, close };
}

/** Serves `total` bytes of the pattern and checks what comes; `done` when both directions ended. */
export function patternServer(total: number, checks: PatternCheck[]): (socket: net.Socket) => void {
  return (socket) => {
    const check = new PatternCheck();
    checks.push(check);
    socket.on('data', (chunk: Buffer) => check.add(chunk));
    let sent = 0;
    const send = (): void => {
      while (sent < total) {
        const chunk = pattern(sent, Math.min(60_001, total - sent));
        sent += chunk.length;
        if (!socket.write(chunk)) {
          socket.once('drain', send);
          return;
        }
      }
      socket.end();
    };
    send();
  };
}

/** The socket factory of tests: a plain connect. */
export const connectPlain: SocketFactory = ({ address, port }, onread) =>
  net.connect({ host: address, port, onread });

/** Collects log lines. */
export class LogLines implements Log {
  readonly lines: string[] = [];
  readonly #add = (level: string) => (_fields: object, message: string) =>
    void this.lines.push(`${level} ${message}`);
  debug: Log['debug'] = this.#add('debug');
  info: Log['info'] = this.#add('info');
  warn: Log['warn'] = this.#add('warn');
  error: Log['error'] = this.#add('error');
}

/** What leads to `sshd`. */
export function optionsFor(sshd: Sshd, options: Partial<BastionOptions> = {}): BastionOptions {
  return {
    name: 'lab',
    endpoints: () => [{ address: sshd.address, port: sshd.port }],
    hostName: sshd.address,
    port: sshd.port,
    user: sshd.user,
    login: keyLogin(readIdentity(sshd.clientKeyFile)),
    knownHosts: KnownHosts.read(sshd.knownHostsFile),
    socketFactory: connectPlain,
    log: new LogLines(),
    ...options,
  };
}

/** A bastion object for `sshd`, not started. */
export function bastionFor(sshd: Sshd, options: Partial<BastionOptions> = {}): Bastion {
  const bastion = new Bastion(optionsFor(sshd, options));
  made.add(() => bastion.stop());
  return bastion;
}

/** Connects to `sshd`. */
export async function connected(sshd: Sshd, options: Partial<BastionOptions> = {}): Promise<Bastion> {
  const bastion = bastionFor(sshd, options);
  bastion.start();
  await bastion.whenReady();
  return bastion;
}
