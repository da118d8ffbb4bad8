/**
 * Hears what the namespace's filter redirects: questions to resolvers that are not reached by a route, such as
 * Docker's on 127.0.0.11. On the loopback addresses only.
 */
import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';

import { NetproxyError } from '../core/errors.ts';
import { DNS_STREAMS_MAX } from '../core/limits.ts';
import type { Native } from '../core/native.ts';
import type { DnsServer } from './server.ts';
import { DnsStream } from './stream.ts';

const HOSTS = ['127.0.0.1', '::1'] as const;
/** Of the kernel, when a namespace has no IPv6. */
const NO_FAMILY = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/** Makes sockets that are bound and do not listen yet. */
export type ListenerSockets = Pick<Native, 'bindTcp' | 'bindUdp'>;

export class DnsListener {
  readonly #server: DnsServer;
  readonly #port: number;
  readonly #sockets: ListenerSockets;
  readonly #udp: UdpSocket[] = [];
  readonly #tcp: net.Server[] = [];
  readonly #connections = new Set<net.Socket>();

  constructor(server: DnsServer, port: number, sockets: ListenerSockets) {
    this.#server = server;
    this.#port = port;
    this.#sockets = sockets;
  }

  /** Throws `DNS_PORT_BUSY`. */
  async start(): Promise<void> {
    try {
      for (const host of HOSTS) {
        try {
          await this.#listenUdp(host);
          await this.#listenTcp(host);
        } catch (error) {
          if (host === '127.0.0.1' || !NO_FAMILY.has(String((error as { code?: unknown }).code))) throw error;
        }
      }
    } catch (cause) {
      this.close();
      const { message } = cause as Error;
      throw new NetproxyError('DNS_PORT_BUSY', `listening for DNS on port ${this.#port}: ${message}`, {
        cause,
      });
    }
  }

  close(): void {
    for (const socket of this.#udp.splice(0)) socket.close();
    for (const server of this.#tcp.splice(0)) server.close();
    for (const socket of this.#connections) socket.destroy();
  }

  async #listenUdp(host: string): Promise<void> {
    const socket = createSocket(host === '::1' ? 'udp6' : 'udp4');
    // Of a descriptor it is told within the call.
    const listening = once(socket, 'listening');
    socket.bind({ fd: this.#sockets.bindUdp(host, this.#port) });
    await listening;
    this.#udp.push(socket);
    // A client that is gone by the time of its answer.
    socket.on('error', () => {});
    socket.on('message', (message, from) => {
      this.#server.accept({
        payload: Uint8Array.from(message),
        client: `udp ${from.address} ${from.port}`,
        resolver: undefined,
        datagram: true,
        answer: (answer) => {
          if (this.#udp.includes(socket)) socket.send(answer, from.port, from.address, () => {});
        },
      });
    });
  }

  async #listenTcp(host: string): Promise<void> {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => this.#connected(socket));
    server.maxConnections = DNS_STREAMS_MAX;
    server.listen({ fd: this.#sockets.bindTcp(host, this.#port) });
    await once(server, 'listening');
    this.#tcp.push(server);
  }

  #connected(socket: net.Socket): void {
    this.#connections.add(socket);
    const client = `tcp ${socket.remoteAddress} ${socket.remotePort}`;
    const stream = new DnsStream(this.#server, client, undefined, {
      write: (frame) => {
        socket.write(frame);
        return socket.writableLength;
      },
      end: () => socket.end(),
      abort: () => socket.destroy(),
    });
    socket.on('data', (chunk: Buffer) => stream.data(chunk));
    socket.on('end', () => stream.ended());
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#connections.delete(socket);
      stream.closed();
    });
  }
}
