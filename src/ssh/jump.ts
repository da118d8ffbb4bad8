/**
 * A bastion behind another one: its connection is a channel of the other's. Each has its own login and
 * host key; the outer one carries what it cannot read.
 */
import net from 'node:net';

import type { Channel, ChannelEnd, DialFailure } from '../core/dialer.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import { JUMP_BUFFER_BYTES, SSH_CLOSE_DEADLINE_MS } from '../core/limits.ts';
import type { Native } from '../core/native.ts';
import type { ByteSink, ByteSource } from '../core/stream.ts';
import type { BastionStatus } from './bastion.ts';
import { PendingDial } from './dial.ts';
import type { DialTaker, Resort } from './dial.ts';
import type { SocketFactory } from './transport.ts';

/** What sshd is told of the client's own end, which is no socket; OpenSSH says the same for `ssh -J`. */
const ORIGIN: Endpoint = { address: '127.0.0.1', port: 65_535 };

const NO_BASTION: DialFailure = { reason: 'host-unreachable', message: 'it is not connected' };

/** Something that dials and says how it is: a bastion. */
export interface JumpDialer extends DialTaker {
  readonly status: BastionStatus;
}

/** A bastion as the way to others. */
export class JumpHost {
  readonly name: string;
  readonly #dialer: JumpDialer;
  #waiting: (() => void)[] = [];

  constructor(name: string, dialer: JumpDialer) {
    this.name = name;
    this.#dialer = dialer;
  }

  /** To be called when the state of the bastion has changed. */
  changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /**
   * The endpoint of a server behind the bastion, which resolves its name. Waits for the bastion's first
   * connection, and rejects with why there is none.
   */
  async reach(host: string, port: number): Promise<readonly Endpoint[]> {
    while (this.#dialer.status.state === 'connecting') {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const { state, reason, fatal } = this.#dialer.status;
    if (state === 'ready') return [{ address: host, port }];
    const message = `jump host ${this.name}: ${reason}`;
    if (fatal === undefined) throw new Error(message);
    throw new NetproxyError(fatal.code, message, { hint: fatal.hint, cause: fatal });
  }

  /** Sockets whose other end is a channel of the bastion. */
  sockets(native: Native): SocketFactory {
    return (to, onread) => {
      const [inner, outer] = native.socketPair();
      const socket = new net.Socket({ fd: inner, readable: true, writable: true, onread });
      new Relay(socket, outer).dial(this.#dialer, to, this.name);
      return socket;
    };
  }
}

/**
 * A dial to the next hop goes through its bastion or fails: another one may know the name for another server,
 * or be what is to be reached. The inner bastion tries again, and holds the connects that wait.
 */
class SameBastion implements Resort {
  readonly #dialer: JumpDialer;

  constructor(dialer: JumpDialer) {
    this.#dialer = dialer;
  }

  adopt(dial: PendingDial): void {
    if (this.#dialer.status.state === 'ready') this.#dialer.adopt(dial);
    else process.nextTick(() => dial.fail(NO_BASTION));
  }

  retry(): boolean {
    return false;
  }
}

/** Moves bytes between the far end of a socket pair and a channel. */
class Relay implements ByteSource, ByteSink {
  /** The end that the inner connection uses. */
  readonly #inner: net.Socket;
  readonly #socket: net.Socket;
  /** Between `#begin` and `#end` stands what was read and not passed on; reading rests meanwhile. */
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(JUMP_BUFFER_BYTES);
  #begin = 0;
  #end = 0;
  #atEnd = false;
  #channel: Channel | undefined;

  constructor(inner: net.Socket, fd: number) {
    this.#inner = inner;
    this.#socket = new net.Socket({
      ...{ fd, readable: true, writable: true, allowHalfOpen: true },
      onread: {
        buffer: this.#buffer,
        callback: (bytes) => {
          this.#begin = 0;
          this.#end = bytes;
          this.#channel?.sourceReady();
          return false;
        },
      },
    });
  }

  /** Opens the channel. Whichever end closes first closes the other. */
  dial(dialer: JumpDialer, to: Endpoint, name: string): void {
    const socket = this.#socket;
    const fail = (message: string): void => {
      this.#inner.destroy(new Error(`jump host ${name}: ${message}`));
      socket.destroy();
    };
    const opened = (channel: Channel): void => {
      this.#channel = channel;
      channel.start(this, this, (end) => this.#closed(end, fail));
    };
    const failed = ({ message }: DialFailure): void => fail(message);
    const dial = new PendingDial(to, ORIGIN, { opened, failed }, () => {});
    dial.resort = new SameBastion(dialer);
    dialer.adopt(dial);
    socket.on('end', () => {
      this.#atEnd = true;
      this.#channel?.sourceReady();
    });
    socket.on('drain', () => this.#channel?.sinkDrained());
    // What closes it says the same.
    socket.on('error', () => {});
    socket.on('close', () => {
      dial.cancel();
      this.#channel?.abort();
    });
    // The last words of the inner connection have some time to get there.
    this.#inner.on('close', () => {
      if (this.#channel === undefined) socket.destroy();
      else setTimeout(() => socket.destroy(), SSH_CLOSE_DEADLINE_MS).unref();
    });
  }

  #closed(end: ChannelEnd, fail: (message: string) => void): void {
    this.#channel = undefined;
    if (end === 'upstream-lost') fail('its connection was lost');
    else if (end !== 'finished') this.#socket.destroy();
  }

  take(max: number): Uint8Array | undefined {
    if (this.#begin === this.#end) return undefined;
    return this.#buffer.subarray(this.#begin, Math.min(this.#end, this.#begin + max));
  }

  taken(bytes: number): void {
    this.#begin += bytes;
    if (this.#begin === this.#end) this.#socket.resume();
  }

  get ended(): boolean {
    return this.#atEnd && this.#begin === this.#end;
  }

  write(chunk: Uint8Array): number {
    this.#socket.write(Buffer.from(chunk));
    return this.#socket.writableLength;
  }

  end(): void {
    this.#socket.end();
  }
}
