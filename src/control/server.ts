/**
 * The control interface: HTTP on a socket in the file system, whose permissions say who may ask. Health is
 * also served on TCP when a port is given, since probes of an orchestrator come by the network; nothing else is,
 * because the application shares the loopback.
 *
 *   GET /livez     200 while the process answers
 *   GET /readyz    200 or 503, and each condition with its reason and age
 *   GET /healthz   the same as /readyz
 *   GET /v1/status (socket only) what `netproxy status` shows
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';

import { formatEndpoint } from '../core/address.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import { CONTROL_CONNECTIONS_MAX, CONTROL_REQUEST_DEADLINE_MS } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { Health } from './health.ts';

// `import` reads every export of node:http, WebSocket among them, which loads a whole HTTP client: 15 MB.
const { createServer } = process.getBuiltinModule('node:http');

/** What the interface shows, declared here so that it can reach for no more. */
export interface Shown {
  readonly health: Health;
  status(): Promise<object>;
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

type Route = () => Answer | Promise<Answer>;

/** Owner and group may ask; what is more than health concerns who operates netproxy, not the application. */
const SOCKET_MODE = 0o660;

const OK = 200;
const NOT_FOUND = 404;
const WRONG_METHOD = 405;
const FAILED = 500;
const UNAVAILABLE = 503;

export class ControlServer {
  readonly #health: ReadonlyMap<string, Route>;
  readonly #all: ReadonlyMap<string, Route>;
  readonly #log: Log;
  readonly #servers: Server[] = [];
  #socket: string | undefined;

  constructor(shown: Shown, log: Log) {
    const { health } = shown;
    this.#log = log;
    const readiness = (): Answer => ({
      status: health.ready ? OK : UNAVAILABLE,
      body: { ready: health.ready, conditions: health.conditions() },
    });
    this.#health = new Map<string, Route>([
      ['/livez', () => ({ status: OK, body: { live: true } })],
      ['/readyz', readiness],
      ['/healthz', readiness],
    ]);
    this.#all = new Map<string, Route>([
      ...this.#health,
      ['/v1/status', async () => ({ status: OK, body: await shown.status() })],
    ]);
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
        if (await answers(path)) throw new Error('another netproxy of this network namespace listens there');
        await rm(path, { force: true });
        await this.#start(this.#all, { path });
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

  /** Serves health on TCP too. Throws CONTROL_UNAVAILABLE. */
  async listenTcp({ address, port }: Endpoint): Promise<void> {
    try {
      await this.#start(this.#health, { host: address, port });
    } catch (error) {
      const at = formatEndpoint({ address, port });
      throw new NetproxyError(
        'CONTROL_UNAVAILABLE',
        `listening for probes at ${at}: ${(error as Error).message}`,
        {
          cause: error,
        },
      );
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
    routes: ReadonlyMap<string, Route>,
    where: { path: string } | { host: string; port: number },
  ): Promise<void> {
    const server = createServer({ requestTimeout: CONTROL_REQUEST_DEADLINE_MS }, (request, response) => {
      void this.#answer(routes, request, response);
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

  async #answer(
    routes: ReadonlyMap<string, Route>,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const [path = ''] = (request.url ?? '').split('?');
    const route = routes.get(path);
    const head = request.method === 'HEAD';
    let answer: Answer;
    if (route === undefined)
      answer = { status: NOT_FOUND, body: { error: `there is no ${path}`, paths: [...routes.keys()] } };
    else if (request.method !== 'GET' && !head)
      answer = { status: WRONG_METHOD, body: { error: 'only GET' } };
    else {
      try {
        answer = await route();
      } catch (error) {
        answer = { status: FAILED, body: { error: (error as Error).message } };
      }
    }
    const text = `${JSON.stringify(answer.body)}\n`;
    response.writeHead(answer.status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      connection: 'close',
    });
    response.end(head ? undefined : text);
  }
}

/** Whether somebody listens at a socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (answer: boolean) => (): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', end(true)).once('error', end(false));
  });
}
