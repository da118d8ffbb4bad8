/**
 * The control interface: HTTP on a socket in the file system, whose permissions say who may ask (routes.ts has
 * what for). By TCP, when a port is given, there are health and metrics for whoever reaches it, since the
 * application shares the loopback; the rest takes a token.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { dirname } from 'node:path';

import { formatEndpoint } from '../core/address.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import { CONTROL_CONNECTIONS_MAX, CONTROL_REQUEST_DEADLINE_MS, FOLLOWER_BYTES } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { Secret } from '../core/secret.ts';
import { listenerAt } from './listener.ts';
import { routesOf } from './routes.ts';
import type { Answer, Route, Shown } from './routes.ts';

// `import` reads every export of node:http, WebSocket among them, which loads a whole HTTP client: 15 MB.
const { createServer } = process.getBuiltinModule('node:http');

/** Owner and group may ask; what is more than health concerns who operates netproxy, not the application. */
const SOCKET_MODE = 0o660;

const UNAUTHORIZED = 401;
const NOT_FOUND = 404;
const WRONG_METHOD = 405;
const FAILED = 500;

export class ControlServer {
  readonly #routes: readonly Route[];
  readonly #log: Log;
  readonly #servers: Server[] = [];
  #token: Secret<string> | undefined;
  #socket: string | undefined;

  constructor(shown: Shown, log: Log) {
    this.#log = log;
    this.#routes = routesOf(shown);
  }

  /** What is not open to everybody by TCP is served for this token; without one, not at all. */
  useToken(token: Secret<string> | undefined): void {
    this.#token = token;
  }

  /** Path of the socket, once there is one. */
  get socket(): string | undefined {
    return this.#socket;
  }

  /**
   * Listens at the first of `paths` that can be had; one that nobody answers at is a killed predecessor's and is
   * taken over. Without any, says so in the log: forwarding does not depend on it.
   */
  async listen(paths: readonly string[]): Promise<void> {
    const refused: string[] = [];
    for (const path of paths) {
      try {
        await mkdir(dirname(path), { recursive: true });
        if ((await listenerAt(path)) === 'there')
          throw new Error('another netproxy of this network namespace listens there');
        await rm(path, { force: true });
        await this.#start({ path }, () => 'all');
        await chmod(path, SOCKET_MODE);
        this.#socket = path;
        return;
      } catch (error) {
        refused.push(`${path}: ${(error as Error).message}`);
      }
    }
    this.#log.warn(
      { tried: refused },
      'there is no control socket: "netproxy status" and health probes cannot ask',
    );
  }

  /** Serves by TCP too. Throws CONTROL_UNAVAILABLE. */
  async listenTcp({ address, port }: Endpoint): Promise<void> {
    try {
      await this.#start({ host: address, port }, (request) => this.#allowed(request));
    } catch (error) {
      const at = formatEndpoint({ address, port });
      throw new NetproxyError('CONTROL_UNAVAILABLE', `listening at ${at}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#servers.map((server) => {
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeAllConnections();
        return closed;
      }),
    );
    if (this.#socket !== undefined) await rm(this.#socket, { force: true }).catch(() => {});
  }

  #start(
    where: { path: string } | { host: string; port: number },
    allowed: (request: IncomingMessage) => Allowed,
  ): Promise<void> {
    const server = createServer({ requestTimeout: CONTROL_REQUEST_DEADLINE_MS }, (request, response) => {
      void this.#answer(request, response, allowed(request));
    });
    server.maxConnections = CONTROL_CONNECTIONS_MAX;
    // Whoever asks does not keep a process alive that has nothing else to do.
    server.unref();
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#log.warn({ error: error.message }, 'control interface'));
        this.#servers.push(server);
        resolve();
      });
    });
  }

  #allowed(request: IncomingMessage): Allowed {
    if (this.#token === undefined) return 'open';
    const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
    return given !== undefined && same(given, this.#token.reveal()) ? 'all' : 'open, and all with a token';
  }

  async #answer(request: IncomingMessage, response: ServerResponse, allowed: Allowed): Promise<void> {
    const answer = await this.#find(request, allowed);
    const text = typeof answer.body === 'string' ? answer.body : `${JSON.stringify(answer.body)}\n`;
    response.writeHead(answer.status, {
      'content-type': answer.contentType ?? 'application/json',
      ...(answer.follow === undefined ? { 'content-length': Buffer.byteLength(text) } : {}),
      'cache-control': 'no-store',
      ...(answer.status === UNAUTHORIZED ? { 'www-authenticate': 'Bearer' } : {}),
      connection: 'close',
    });
    if (request.method === 'HEAD') {
      response.end();
    } else if (answer.follow === undefined) {
      response.end(text);
    } else {
      response.write(text);
      const stop = answer.follow((more) => {
        if (response.writableLength > FOLLOWER_BYTES) return false;
        response.write(more);
        return true;
      });
      response.once('close', stop);
    }
  }

  async #find(request: IncomingMessage, allowed: Allowed): Promise<Answer> {
    const wrong = (status: number, error: string, more: object = {}): Answer => ({
      status,
      body: { error, ...more },
    });
    const [pathname = '', query = ''] = (request.url ?? '').split('?', 2);
    const parts = pathname.split('/');
    const routes = this.#routes.filter(({ open }) => allowed !== 'open' || open === true);
    const there = routes.filter(({ path }) => matches(path.split('/'), parts));
    if (there.length === 0)
      return wrong(NOT_FOUND, `there is no ${pathname}`, {
        paths: [...new Set(routes.map(({ path }) => path))],
      });
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const route = there.find((each) => each.method === method);
    if (route === undefined)
      return wrong(WRONG_METHOD, `only ${there.map((each) => each.method).join(', ')}`);
    if (allowed !== 'all' && route.open !== true) return wrong(UNAUTHORIZED, 'the token is wanted');
    try {
      return await route.answer({ query: new URLSearchParams(query), id: parts.at(-1) ?? '' });
    } catch (error) {
      return wrong(FAILED, (error as Error).message);
    }
  }
}

/** What a request may have. Without a token to be had, the rest is not even there. */
type Allowed = 'all' | 'open' | 'open, and all with a token';

function matches(path: readonly string[], parts: readonly string[]): boolean {
  return (
    path.length === parts.length &&
    path.every((part, index) => (part === 'ID' ? parts[index] !== '' : part === parts[index]))
  );
}

/** In a time that tells nothing of how much is alike. */
function same(given: string, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}
