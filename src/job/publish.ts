/** Ports of a command in a namespace of its own, brought out to the caller's. */
import { once } from 'node:events';
import net from 'node:net';

import { formatEndpoint } from '../core/address.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import { PUBLISHED_CONNECTIONS_MAX } from '../core/limits.ts';
import type { Native } from '../core/native.ts';

export interface Published {
  /** Where it listens, outside. */
  readonly outside: Endpoint;
  /** Port of the command's server, on its loopback. */
  readonly port: number;
}

const INSIDE: readonly string[] = ['127.0.0.1', '::1'];
const NOTHING = Buffer.alloc(0);

export class Publisher {
  /** Of the namespace of the command. */
  readonly #inside: Pick<Native, 'connectTcp'>;
  readonly #servers: net.Server[] = [];
  readonly #sockets = new Set<net.Socket>();

  constructor(inside: Pick<Native, 'connectTcp'>) {
    this.#inside = inside;
  }

  /** Listens at all of them. Throws PUBLISH_FAILED. */
  async open(all: readonly Published[]): Promise<void> {
    for (const { outside, port } of all) {
      const server = net.createServer({ allowHalfOpen: true }, (client) => this.#accept(client, port));
      server.maxConnections = PUBLISHED_CONNECTIONS_MAX;
      try {
        server.listen(outside.port, outside.address);
        await once(server, 'listening');
      } catch (cause) {
        const { message } = cause as Error;
        throw new NetproxyError('PUBLISH_FAILED', `listening at ${formatEndpoint(outside)}: ${message}`, {
          cause,
        });
      }
      this.#servers.push(server);
    }
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: net.Socket, port: number): void {
    this.#watch(client);
    this.#connect(port, [...INSIDE], (server) => {
      // Whoever came finds nobody.
      if (server === undefined || client.destroyed) {
        client.resetAndDestroy();
        server?.destroy();
        return;
      }
      client.pipe(server).pipe(client);
      client.once('close', () => server.destroy());
      server.once('close', () => client.destroy());
    });
  }

  /** Tries the addresses one after the other; a loopback answers at once. */
  #connect(port: number, addresses: string[], done: (server: net.Socket | undefined) => void): void {
    const address = addresses.shift();
    if (address === undefined) {
      done(undefined);
      return;
    }
    const next = (): void => this.#connect(port, addresses, done);
    try {
      const fd = this.#inside.connectTcp(address, port, 0, 0);
      const server = new net.Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
      this.#watch(server);
      server.write(NOTHING, (error) => {
        if (error === null || error === undefined) done(server);
        else next();
      });
    } catch {
      setImmediate(next);
    }
  }

  #watch(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // The other side is told by 'close'.
    socket.on('error', () => {});
  }
}
