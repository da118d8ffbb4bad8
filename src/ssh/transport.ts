/**
 * Hop 7 of 8 (docs/data-path.md), with packet-cipher.ts: packets to and from the socket. Before it,
 * channel.ts; after it, the marked socket of marked-socket.ts.
 */
import type net from 'node:net';
import { SSH_GREETING_BYTES, SSH_RECEIVE_BUFFER_BYTES } from '../core/limits.ts';
import type { Link } from './link.ts';
import { detachFrom, keyExchangeRuns } from './ssh2.ts';
import type { Protocol } from './protocol.ts';

/** RFC 4253 section 4.2: lines of another kind may come first. */
const IDENTIFICATION = /^SSH-.*\r?\n/m;
const IDENTIFICATION_MAX = 255;

/**
 * Makes the TCP socket towards a bastion. It may be returned while it connects, also one made from a
 * file descriptor that never emits 'connect'. It must use `onread`.
 */
export type SocketFactory = (
  to: { readonly address: string; readonly port: number },
  onread: net.OnReadOpts,
) => net.Socket;

/**
 * The TCP socket under ssh2, with two things that a plain one lacks: reads land in one buffer that
 * is used over and over, and all writes of a turn leave together.
 */
export class Transport {
  readonly socket: net.Socket;
  #received = 0;
  #receiving = false;
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(SSH_RECEIVE_BUFFER_BYTES);
  #inPlace: Protocol | undefined;
  /** What came before the end of the server's identification line. */
  #greeting: Buffer | undefined = Buffer.alloc(0);
  #identification = '';
  #corked = false;
  #link: Link | undefined;
  readonly #uncork = (): void => this.flush();

  constructor(factory: SocketFactory, to: { readonly address: string; readonly port: number }) {
    this.socket = factory(to, {
      buffer: this.#buffer,
      callback: (bytes) => {
        this.#receiving = true;
        this.#receive(bytes);
        this.#receiving = false;
        return this.#link === undefined;
      },
    });
    this.socket.setNoDelay(true);
    const socket = this.socket;
    const write: (chunk: Uint8Array) => boolean = socket.write.bind(socket);
    const end = socket.end.bind(socket);
    // What was queued natively goes before the end of the stream.
    this.socket.end = () => {
      this.#link?.flush();
      return end();
    };
    this.socket.on('close', () => this.#link?.close());
    this.socket.write = (chunk: unknown) => {
      if (!this.#corked) {
        this.#corked = true;
        this.socket.cork();
        process.nextTick(this.#uncork);
      }
      return write(chunk as Uint8Array);
    };
  }

  /** Bytes received so far. */
  get received(): number {
    return this.#received + (this.#link?.native.received() ?? 0);
  }

  /** Bytes sent so far. */
  get sent(): number {
    return this.socket.bytesWritten + (this.#link?.native.sent() ?? 0);
  }

  /** Bytes that wait for the socket. */
  get queued(): number {
    return this.#link?.native.queued() ?? this.socket.writableLength;
  }

  /** Asks the native sender to tell when the queue was sent; a socket does so unasked. */
  wantDrained(): void {
    this.#link?.native.wantDrained();
  }

  /**
   * Gives the socket to a link, when all that was written is sent and nothing is being received. From
   * then on `socket` only says when it is closed. Undefined when that is not possible now.
   */
  linkBy(make: (fd: number) => Link | undefined): Link | undefined {
    this.flush();
    // Not documented, but what every socket of libuv has; one without a descriptor stays as it is.
    const fd = (this.socket as { _handle?: { fd?: number } })._handle?.fd ?? -1;
    if (fd < 0 || this.socket.writableLength > 0 || !this.socket.writable || this.#receiving)
      return undefined;
    this.#link = make(fd);
    if (this.#link !== undefined) this.socket.pause();
    return this.#link;
  }

  /** Closes without a word. */
  destroy(): void {
    this.#link?.close();
    this.socket.destroy();
  }

  /** True once the server has identified itself. */
  get greeted(): boolean {
    return this.#greeting === undefined;
  }

  /** The server's identification, such as `SSH-2.0-OpenSSH_10.0`; empty before it came. */
  get identification(): string {
    return this.#identification;
  }

  /** What came in place of an identification. */
  get greeting(): string {
    return this.#greeting?.toString('latin1') ?? '';
  }

  /** Sends now what was written in this turn. */
  flush(): void {
    this.#link?.flush();
    if (!this.#corked) return;
    this.#corked = false;
    this.socket.uncork();
  }

  /** From here on ssh2 gets views of the receive buffer; before, it keeps parts of what it is given. */
  receiveInPlace(protocol: Protocol): void {
    this.#inPlace = protocol;
  }

  #receive(bytes: number): void {
    this.#received += bytes;
    const view = this.#buffer.subarray(0, bytes);
    const protocol = this.#inPlace;
    if (protocol === undefined || keyExchangeRuns(protocol)) {
      const copy = this.#whole(Buffer.from(view));
      if (copy !== undefined) this.socket.emit('data', copy);
      return;
    }
    this.socket.emit('data', view);
    detachFrom(this.#buffer.buffer, protocol);
  }

  /** ssh2 loses bytes of an identification that comes in more than two reads: hands it on in one. */
  #whole(chunk: Buffer): Buffer | undefined {
    if (this.#greeting === undefined) return chunk;
    const greeting = Buffer.concat([this.#greeting, chunk]);
    this.#greeting = greeting;
    const [identification] = IDENTIFICATION.exec(greeting.toString('latin1')) ?? [];
    if (greeting.length <= SSH_GREETING_BYTES && identification === undefined) return undefined;
    // RFC 4253 section 4.2: at most 255 bytes, and printable.
    this.#identification = (identification ?? '').replaceAll(/[^ -~]/g, '').slice(0, IDENTIFICATION_MAX);
    this.#greeting = undefined;
    return greeting;
  }
}
