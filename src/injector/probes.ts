/** Health and metrics, by plain HTTP: what is shown is no secret. */
import type { Server, ServerResponse } from 'node:http';
import type { Endpoint } from '../core/flow.ts';
import { PROBE_CONNECTIONS_MAX, PROBE_REQUEST_DEADLINE_MS } from '../core/limits.ts';
import { end, listen } from './listen.ts';

const { createServer } = process.getBuiltinModule('node:http');

const OK = 200;
const NOT_FOUND = 404;
const WRONG_METHOD = 405;
const FAILED = 500;
const UNREADY = 503;

/** What has to hold for a replica to be asked. */
export interface Condition {
  readonly name: string;
  /** Undefined when it holds. */
  readonly problem: string | undefined;
  /** What is wrong and keeps nobody from asking. */
  readonly remarks?: readonly string[];
}

export interface Shown {
  conditions(): readonly Condition[];
  metrics(): Promise<string>;
}

/** The server of /livez, /readyz and /metrics. */
export class Probes {
  readonly #server: Server;
  readonly #shown: Shown;

  constructor(shown: Shown) {
    this.#shown = shown;
    this.#server = createServer({ requestTimeout: PROBE_REQUEST_DEADLINE_MS }, (request, response) => {
      const [path] = (request.url ?? '').split('?', 1);
      const { method } = request;
      if (method !== 'GET' && method !== 'HEAD') respond(response, WRONG_METHOD, 'only GET\n');
      else void this.#answer(path ?? '', response);
    });
    this.#server.maxConnections = PROBE_CONNECTIONS_MAX;
  }

  /** Gives the port. Throws LISTEN_FAILED. */
  listen(at: Endpoint): Promise<number> {
    return listen(this.#server, at);
  }

  async close(): Promise<void> {
    await end(this.#server, 0);
  }

  async #answer(path: string, response: ServerResponse): Promise<void> {
    try {
      if (path === '/livez') respond(response, OK, 'ok\n');
      else if (path === '/readyz') respond(response, ...readiness(this.#shown.conditions()));
      else if (path === '/metrics')
        respond(response, OK, await this.#shown.metrics(), 'text/plain; version=0.0.4; charset=utf-8');
      else respond(response, NOT_FOUND, 'there are /livez, /readyz and /metrics\n');
    } catch (error) {
      respond(response, FAILED, `${(error as Error).message}\n`);
    }
  }
}

/** A line for each condition, as those of the API server have it. */
export function readiness(conditions: readonly Condition[]): [status: number, text: string] {
  const ready = conditions.every(({ problem }) => problem === undefined);
  const lines = conditions.flatMap(({ name, problem, remarks = [] }) => [
    problem === undefined ? `[+]${name} ok` : `[-]${name} failed: ${problem}`,
    ...remarks.map((remark) => `   ${name}: ${remark}`),
  ]);
  return [ready ? OK : UNREADY, `${[...lines, ready ? 'ready' : 'not ready'].join('\n')}\n`];
}

function respond(response: ServerResponse, status: number, text: string, type = 'text/plain'): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(text);
}
