/** The API server of the cluster, as far as the injector needs it: single requests, as the pod's service account. */
import { readFile } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { NetproxyError } from '../core/errors.ts';
import { API_ANSWER_MAX_BYTES, API_DEADLINE_MS, API_PAGE, API_PAGES_MAX } from '../core/limits.ts';
import { listOf, member, textOf } from './json.ts';
import type { Json } from './json.ts';

// Not by `import`, which reads every export of it: WebSocket brings a whole HTTP client.
const https = process.getBuiltinModule('node:https');

export interface ApiPlace {
  readonly host: string;
  readonly port: number;
  /** Folder with `token`, `ca.crt` and `namespace`, as Kubernetes mounts it. */
  readonly folder: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: Json;
}

interface Options {
  readonly body?: object;
  /** Of the body; JSON unless given. */
  readonly type?: 'application/json' | 'application/json-patch+json';
  /** Statuses of failure that the caller has a use for. */
  readonly expect?: readonly number[];
}

const UNAUTHORIZED = 401;
const FORBIDDEN = 403;

export class KubernetesApi {
  readonly #place: ApiPlace;
  #agent: Agent | undefined;
  #authority = '';

  constructor(place: ApiPlace) {
    this.#place = place;
  }

  /** Namespace of the pod. Throws KUBERNETES_UNREACHABLE when there is no service account. */
  async namespace(): Promise<string> {
    return (await this.#read('namespace')).trim();
  }

  /** Throws KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED or KUBERNETES_FAILED. */
  async request(method: string, path: string, options: Options = {}): Promise<ApiAnswer> {
    // Read each time: Kubernetes exchanges both, and a request is rare.
    const [token, authority] = await Promise.all([this.#read('token'), this.#read('ca.crt')]);
    if (this.#agent === undefined || authority !== this.#authority) {
      this.#agent?.destroy();
      this.#agent = new https.Agent({ keepAlive: true, maxSockets: 4, ca: authority });
      this.#authority = authority;
    }
    const { status, text } = await this.#send(method, path, token.trim(), options);
    let body: Json;
    try {
      body = JSON.parse(text) as Json;
    } catch {
      body = null;
    }
    if (status < 300 || options.expect?.includes(status) === true) return { status, body };
    const said = `${method} ${path}: ${status} ${textOf(member(body, 'message')) ?? ''}`.trim();
    throw new NetproxyError(
      status === UNAUTHORIZED || status === FORBIDDEN ? 'KUBERNETES_REFUSED' : 'KUBERNETES_FAILED',
      said,
    );
  }

  /** All objects of a list, page by page; undefined when there is no such resource. */
  async list(path: string): Promise<readonly Json[] | undefined> {
    const items: Json[] = [];
    let from = '';
    for (let page = 0; page < API_PAGES_MAX; page++) {
      const { status, body } = await this.request('GET', `${path}?limit=${API_PAGE}${from}`, {
        expect: [404],
      });
      if (status === 404) return undefined;
      items.push(...(listOf(member(body, 'items')) ?? []));
      const more = textOf(member(member(body, 'metadata'), 'continue')) ?? '';
      if (more === '') return items;
      from = `&continue=${encodeURIComponent(more)}`;
    }
    throw new NetproxyError('KUBERNETES_FAILED', `${path}: more than ${API_PAGE * API_PAGES_MAX} objects`);
  }

  close(): void {
    this.#agent?.destroy();
  }

  async #read(name: string): Promise<string> {
    const path = join(this.#place.folder, name);
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw new NetproxyError('KUBERNETES_UNREACHABLE', `the service account: ${(error as Error).message}`, {
        cause: error,
        hint: 'The injector runs in a pod with a service account whose token is mounted; --service-account names another folder.',
      });
    }
  }

  #send(
    method: string,
    path: string,
    token: string,
    { body, type }: Options,
  ): Promise<{ status: number; text: string }> {
    const { host, port } = this.#place;
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void =>
        reject(
          new NetproxyError('KUBERNETES_UNREACHABLE', `${method} ${path}: ${error.message}`, {
            cause: error,
          }),
        );
      const request = https.request(
        {
          ...{ host, port, method, path, agent: this.#agent! },
          signal: AbortSignal.timeout(API_DEADLINE_MS),
          headers: {
            authorization: `Bearer ${token}`,
            accept: 'application/json',
            ...(payload === undefined
              ? {}
              : {
                  'content-type': type ?? 'application/json',
                  'content-length': Buffer.byteLength(payload),
                }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > API_ANSWER_MAX_BYTES)
              response.destroy(new Error(`an answer of more than ${API_ANSWER_MAX_BYTES} bytes`));
            else chunks.push(chunk);
          });
          response.on('error', failed);
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
          );
        },
      );
      request.on('error', failed);
      request.end(payload);
    });
  }
}
