/**
 * Dials past every bastion: a socket of netproxy's own, whose mark lets it out by the uplink. Stands where
 * hops 5 to 8 of docs/data-path.md do for a flow that goes to a bastion.
 */
import net from 'node:net';
import type { DialFailure, DialHandlers, Dialer } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import { DIRECT_RECEIVE_BUFFER_BYTES } from '../core/limits.ts';
import type { Native } from '../core/native.ts';
import type { OwnSockets } from '../core/own-sockets.ts';
import { DirectChannel } from './channel.ts';
import { reasonOf } from './reason.ts';

export interface DirectOptions {
  readonly native: Pick<Native, 'connectTcp'>;
  readonly own: OwnSockets;
  readonly mark: number;
  /** Milliseconds that a connect may take; asked anew for each. */
  readonly timeoutMs: () => number;
}

function failureOf(error: Error): DialFailure {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return { reason: reasonOf(error), message: `connect: ${code || error.message}` };
}

/** The dialer; one buffer serves the reads of all its connections, each of which is dealt with at once. */
export function directDialer(options: DirectOptions): Dialer {
  const buffer = Buffer.allocUnsafeSlow(DIRECT_RECEIVE_BUFFER_BYTES);
  return {
    dial(target, _origin, handlers) {
      return new DirectDial(target, handlers, buffer, options);
    },
  };
}

class DirectDial {
  readonly #handlers: DialHandlers;
  #socket: net.Socket | undefined;
  #channel: DirectChannel | undefined;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(target: Endpoint, handlers: DialHandlers, buffer: Buffer, options: DirectOptions) {
    this.#handlers = handlers;
    try {
      this.#connect(target, buffer, options);
    } catch (error) {
      // The kernel has no route, or no room for a socket.
      const failure = failureOf(error as Error);
      setImmediate(() => this.#fail(failure));
    }
  }

  cancel(): void {
    if (this.#over) return;
    this.#end();
    this.#socket?.destroy();
  }

  #connect(target: Endpoint, buffer: Buffer, { native, own, mark, timeoutMs }: DirectOptions): void {
    const fd = native.connectTcp(target.address, target.port, mark, 0);
    const socket = new net.Socket({
      fd,
      allowHalfOpen: true,
      onread: { buffer, callback: (bytes) => this.#channel?.received(buffer.subarray(0, bytes)) ?? true },
    });
    this.#socket = socket;
    own.watch(socket, target);
    socket.on('error', (error) => this.#fail(failureOf(error)));
    // A socket made from a descriptor emits no 'connect'; what is written is written once it is connected.
    socket.write(NOTHING, (error) => {
      if (error === null || error === undefined) this.#opened(socket);
    });
    const seconds = timeoutMs() / 1000;
    this.#timer = setTimeout(() => {
      this.#fail({ reason: 'host-unreachable', message: `connect: no answer within ${seconds} s` });
    }, timeoutMs());
  }

  #opened(socket: net.Socket): void {
    if (this.#over) return;
    this.#end();
    this.#channel = new DirectChannel(socket);
    this.#handlers.opened(this.#channel);
  }

  #fail(failure: DialFailure): void {
    if (this.#over) return;
    this.#end();
    this.#socket?.destroy();
    this.#handlers.failed(failure);
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }
}

const NOTHING = Buffer.alloc(0);
