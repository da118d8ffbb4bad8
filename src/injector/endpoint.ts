/** The webhook itself: HTTPS, one path, requests of bounded size, number and time. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:https';
import {
  REVIEW_CHECK_MS,
  REVIEW_CONNECTIONS_MAX,
  REVIEW_HANDSHAKE_DEADLINE_MS,
  REVIEW_IDLE_MS,
  REVIEW_MAX_BYTES,
  REVIEW_REQUEST_DEADLINE_MS,
  REVIEWS_MAX_BYTES,
} from '../core/limits.ts';
import type { Endpoint } from '../core/flow.ts';
import type { Log } from '../core/log.ts';
import type { Generation } from './certificate.ts';
import { end, listen } from './listen.ts';
import { INJECT_PATH } from './names.ts';
import { BadReview, parseReview } from './review.ts';
import type { Review } from './review.ts';

// Not by `import`, which reads every export of it: WebSocket brings a whole HTTP client.
const https = process.getBuiltinModule('node:https');

const OK = 200;
const BAD_REQUEST = 400;
const NOT_FOUND = 404;
const WRONG_METHOD = 405;
const TOO_LARGE = 413;
const WRONG_TYPE = 415;
const FAILED = 500;
const OVERLOADED = 503;

export interface Asked {
  /** Answers a review; `started` is when its request came, by performance.now(). Must not throw. */
  answer(review: Review, started: number): object;
  /** A request that was no review, by its status. */
  bad(status: number): void;
}

/** Ends a request with a status and words for whoever sent it. */
class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export class AdmissionEndpoint {
  readonly #server: Server;
  readonly #asked: Asked;
  readonly #log: Log;
  /** Bytes of requests that have not been answered. */
  #bytes = 0;
  #leaving = false;

  constructor(asked: Asked, log: Log) {
    this.#asked = asked;
    this.#log = log;
    this.#server = https.createServer(
      {
        minVersion: 'TLSv1.2',
        handshakeTimeout: REVIEW_HANDSHAKE_DEADLINE_MS,
        requestTimeout: REVIEW_REQUEST_DEADLINE_MS,
        headersTimeout: REVIEW_REQUEST_DEADLINE_MS,
        connectionsCheckingInterval: REVIEW_CHECK_MS,
        keepAliveTimeout: REVIEW_IDLE_MS,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = REVIEW_CONNECTIONS_MAX;
    this.#server.on('tlsClientError', (error) =>
      this.#log.debug({ error: error.message }, 'TLS of a client'),
    );
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** Gives the port. Throws LISTEN_FAILED. Before `use` every handshake fails. */
  async listen(at: Endpoint): Promise<number> {
    const port = await listen(this.#server, at);
    this.#server.on('error', (error) => this.#log.warn({ error: error.message }, 'webhook'));
    return port;
  }

  /** From the next connection on. */
  use({ certificate, key }: Generation): void {
    this.#server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.2' });
  }

  /** Answers go on; each is the last of its connection, so that clients come to another replica. */
  leave(): void {
    this.#leaving = true;
  }

  async close(deadlineMs: number): Promise<void> {
    await end(this.#server, deadlineMs);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    try {
      this.#check(request);
      const body = await this.#body(request);
      const review = parseReview(body);
      this.#respond(response, OK, JSON.stringify(this.#asked.answer(review, started)));
    } catch (error) {
      const status =
        error instanceof Refused ? error.status : error instanceof BadReview ? BAD_REQUEST : FAILED;
      if (status === FAILED) this.#log.error({ error }, 'a request could not be answered');
      this.#asked.bad(status);
      // What was not read of it would be taken for the next request.
      response.shouldKeepAlive = false;
      this.#respond(response, status, JSON.stringify({ error: (error as Error).message }));
    }
  }

  #check({ method, url, headers }: IncomingMessage): void {
    const [path] = (url ?? '').split('?', 1);
    if (path !== INJECT_PATH) throw new Refused(NOT_FOUND, `only ${INJECT_PATH} is there`);
    if (method !== 'POST') throw new Refused(WRONG_METHOD, 'only POST');
    if (!/^application\/json\s*(;|$)/i.test(headers['content-type'] ?? ''))
      throw new Refused(WRONG_TYPE, 'only application/json');
    if (Number(headers['content-length'] ?? 0) > REVIEW_MAX_BYTES)
      throw new Refused(TOO_LARGE, `more than ${REVIEW_MAX_BYTES} bytes`);
  }

  async #body(request: IncomingMessage): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        this.#bytes += chunk.length;
        if (bytes > REVIEW_MAX_BYTES) throw new Refused(TOO_LARGE, `more than ${REVIEW_MAX_BYTES} bytes`);
        if (this.#bytes > REVIEWS_MAX_BYTES) throw new Refused(OVERLOADED, 'too many requests at once');
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    } catch (error) {
      throw error instanceof Refused ? error : new Refused(BAD_REQUEST, 'the request broke off');
    } finally {
      this.#bytes -= bytes;
    }
  }

  #respond(response: ServerResponse, status: number, text: string): void {
    if (this.#leaving) response.shouldKeepAlive = false;
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
  }
}
