/**
 * A process beside the API server that makes labelled pods by dry-run and looks at what each replica serves, all over
 * connections that are new each time, until its input ends; then it prints what went wrong. Its arguments: the
 * request as JSON, see `Watching`.
 */
import { once } from 'node:events';
import { request } from 'node:https';
import type { RequestOptions } from 'node:https';
import { connect } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Namespace } from '../lab/namespaces.ts';

export interface Watching {
  readonly host: string;
  readonly port: number;
  readonly authority: string;
  readonly token: string;
  /** Paths of the API. */
  readonly pods: string;
  readonly webhook: string;
  readonly pod: object;
  /** Ports of replicas on the loopback; there may be none. */
  readonly ports: readonly number[];
}

export interface Watched {
  readonly admissions: number;
  readonly handshakes: number;
  /** Certificates that were seen. */
  readonly certificates: number;
  readonly failures: readonly string[];
}

const PAUSE_MS = 100;
const FAILURES_MAX = 20;

/** Watches from `node` for as long as `body` takes; gives what was seen. */
export async function watchDuring(
  node: Namespace,
  watching: Watching,
  body: () => Promise<void>,
): Promise<Watched> {
  const child = node.spawn([process.execPath, import.meta.filename, JSON.stringify(watching)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const closed = once(child, 'close');
  try {
    await body();
  } finally {
    child.stdin!.end();
    await closed;
  }
  return JSON.parse(output) as Watched;
}

async function watch(at: Watching): Promise<Watched> {
  const [failures, seen] = [[] as string[], new Set<string>()];
  let [admissions, handshakes] = [0, 0];
  const over = new AbortController();
  const failed = (what: string, error: unknown): void => {
    if (failures.length < FAILURES_MAX)
      failures.push(`${new Date().toISOString()} ${what}: ${String(error)}`);
  };
  const ask = (method: string, path: string, body?: object): Promise<string> =>
    new Promise((resolve, reject) => {
      const { host, port, authority, token } = at;
      const options: RequestOptions = {
        ...{ host, port, ca: authority, path, method, agent: false },
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      };
      const asked = request(options, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => {
          if ((response.statusCode ?? 0) < 300) resolve(text);
          else reject(new Error(`${response.statusCode} ${text}`));
        });
      });
      asked.on('error', reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const handshake = (port: number, bundle: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, ca: bundle, servername: '' });
      socket.on('secureConnect', () => {
        resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? '');
        socket.destroy();
      });
      socket.on('error', reject);
    });
  process.stdin.on('end', () => over.abort()).resume();
  while (!over.signal.aborted) {
    try {
      const made = await ask('POST', `${at.pods}?dryRun=All`, at.pod);
      if (!made.includes('"netproxy.io/injected"')) throw new Error('the pod was not injected');
      admissions++;
    } catch (error) {
      failed('admission', error);
    }
    try {
      const read = JSON.parse(await ask('GET', at.webhook)) as {
        webhooks: [{ clientConfig: { caBundle: string } }];
      };
      const bundle = Buffer.from(read.webhooks[0].clientConfig.caBundle, 'base64').toString();
      for (const port of at.ports) seen.add(await handshake(port, bundle));
      handshakes += at.ports.length;
    } catch (error) {
      failed('handshake', error);
    }
    await sleep(PAUSE_MS);
  }
  return { admissions, handshakes, certificates: seen.size, failures };
}

if (import.meta.main) {
  const result = await watch(JSON.parse(process.argv[2]!) as Watching);
  process.stdout.write(JSON.stringify(result));
}
