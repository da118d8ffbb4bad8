/** A proxy before the socket of an engine, as people have it who do not hand out the engine itself. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { Engine } from '../lab/engine.ts';

export interface SocketProxyOptions {
  /** What it lets through, such as `GET /containers/json`. */
  readonly allows: RegExp;
  /** What it makes of the engine's answer to a path. */
  readonly rewrite?: (path: string, body: string) => string;
}

export class SocketProxy {
  readonly path: string;
  /** Every request, whether it was let through or not. */
  readonly seen: string[] = [];
  readonly #server: Server;

  private constructor(path: string, engine: Engine, { allows, rewrite }: SocketProxyOptions) {
    this.path = path;
    this.#server = createServer((incoming, answer) => {
      const { method = '', url = '' } = incoming;
      const call = `${method} ${url.split('?')[0]}`;
      this.seen.push(call);
      if (!allows.test(call)) {
        answer
          .writeHead(403, { 'content-type': 'text/html' })
          .end('<html><body><h1>403 Forbidden</h1></body></html>');
        return;
      }
      const passed = request(
        { socketPath: engine.socket, method, path: url, headers: incoming.headers },
        (response) => {
          const { statusCode = 500, headers } = response;
          if (rewrite === undefined) {
            answer.writeHead(statusCode, headers);
            answer.flushHeaders();
            response.pipe(answer);
            return;
          }
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.once('end', () => answer.writeHead(statusCode).end(rewrite(url, body)));
        },
      );
      passed.on('error', () => answer.destroy());
      answer.on('close', () => passed.destroy());
      incoming.pipe(passed);
    });
  }

  static async start(engine: Engine, options: SocketProxyOptions): Promise<SocketProxy> {
    const path = join(engine.socket, '..', `proxy-${++proxies}.sock`);
    rmSync(path, { force: true });
    const proxy = new SocketProxy(path, engine, options);
    proxy.#server.listen(path);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get environment(): NodeJS.ProcessEnv {
    return { DOCKER_HOST: `unix://${this.path}` };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

let proxies = 0;
