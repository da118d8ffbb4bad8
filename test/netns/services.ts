/** Real servers in the target's namespace: programs of Debian's packages with their data in a folder of their own. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitForPort } from '../lab/namespaces.ts';
import type { Namespace } from '../lab/namespaces.ts';

/** Where the servers listen; the first three are those of peers.py. */
export const SERVICE_PORTS = {
  smtp: 8025,
  websocket: 8765,
  grpc: 50051,
  https: 8443,
  redis: 6379,
  postgres: 5432,
  mysql: 3306,
} as const;

export const PEERS = join(import.meta.dirname, 'peers.py');

/** They start while two processors do other things too. */
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 10_000;
/** For the files of a database. */
const INSTALL_DEADLINE_MS = 300_000;
/** `nobody` and `nogroup` of Debian: some servers refuse to run as root. */
const NOBODY = 65534;

/** Nothing of the user's: no proxy, no locale, no start-up files. */
export const PLAIN_ENV: NodeJS.ProcessEnv = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  LC_ALL: 'C',
};

export class Services {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'netproxy-services-'));
  readonly #where: Namespace;
  readonly #address: string;
  readonly #running: { readonly child: ChildProcess; readonly ended: Promise<unknown> }[] = [];

  constructor(where: Namespace, address: string) {
    this.#where = where;
    this.#address = address;
    chmodSync(this.folder, 0o755);
  }

  file(...names: string[]): string {
    return join(this.folder, ...names);
  }

  async startPeers(): Promise<void> {
    const { smtp, websocket, grpc } = SERVICE_PORTS;
    await this.#start(['/usr/bin/python3', PEERS, 'serve', this.#address], smtp, websocket, grpc);
  }

  async startRedis(): Promise<void> {
    const port = SERVICE_PORTS.redis;
    const options = ['--bind', this.#address, '--port', String(port), '--protected-mode', 'no'];
    await this.#start(
      asNobody('redis-server', ...options, '--save', '', '--dir', this.#ownFolder('redis')),
      port,
    );
  }

  async startPostgres(): Promise<void> {
    const programs = globSync('/usr/lib/postgresql/*/bin').toSorted().at(-1);
    if (programs === undefined) throw new Error('PostgreSQL is not installed; `npm run setup` does it');
    const data = this.#ownFolder('postgres');
    const init = ['--auth', 'trust', '--username', 'test', '--no-sync', '--pgdata', data];
    await this.#where.run(asNobody(`${programs}/initdb`, ...init), {
      env: PLAIN_ENV,
      timeoutMs: INSTALL_DEADLINE_MS,
    });
    writeFileSync(join(data, 'pg_hba.conf'), 'host all all all trust\n');
    const port = SERVICE_PORTS.postgres;
    const options = ['-h', this.#address, '-p', String(port), '-k', '', '-F'];
    await this.#start(asNobody(`${programs}/postgres`, '-D', data, ...options), port);
  }

  async startMysql(): Promise<void> {
    const data = this.#ownFolder('mysql');
    const common = ['--no-defaults', `--datadir=${data}`];
    await this.#where.run(asNobody('mariadb-install-db', ...common, '--skip-test-db'), {
      env: PLAIN_ENV,
      timeoutMs: INSTALL_DEADLINE_MS,
    });
    const port = SERVICE_PORTS.mysql;
    const options = [
      `--bind-address=${this.#address}`,
      `--port=${port}`,
      `--socket=${join(data, 'socket')}`,
      '--skip-grant-tables',
      '--skip-name-resolve',
    ];
    await this.#start(asNobody('mariadbd', ...common, ...options), port);
  }

  /** Serves /page, and takes what is put. The certificate is `file('cert')`, of target.test. */
  async startHttps(): Promise<void> {
    const files = this.#ownFolder('www');
    await this.#where.run(
      // prettier-ignore
      ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
       '-subj', '/CN=target.test', '-addext', 'subjectAltName=DNS:target.test',
       '-keyout', this.file('key'), '-out', this.file('cert')],
    );
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    writeFileSync(
      this.file('nginx.conf'),
      `daemon off; master_process off; pid ${this.file('nginx.pid')}; error_log ${this.file('nginx.log')};
events {}
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${this.file(name)};`).join(' ')}
  server {
    listen ${this.#address}:${SERVICE_PORTS.https} ssl http2;
    ssl_certificate ${this.file('cert')}; ssl_certificate_key ${this.file('key')};
    root ${files}; dav_methods PUT; client_max_body_size 64m;
  }
}
`,
    );
    await this.#start(
      ['nginx', '-c', this.file('nginx.conf'), '-e', this.file('nginx.log')],
      SERVICE_PORTS.https,
    );
  }

  /** Ends every server and removes the folder. */
  async stop(): Promise<void> {
    // PostgreSQL takes SIGINT for a fast shutdown, in which it ends its own children; so do the others.
    for (const { child } of this.#running) child.kill('SIGINT');
    const forced = setTimeout(() => {
      for (const { child } of this.#running) child.kill('SIGKILL');
    }, STOP_DEADLINE_MS);
    await Promise.all(this.#running.map(({ ended }) => ended));
    clearTimeout(forced);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Waits until all `ports` are open; throws with what the server said if it ended instead. */
  async #start(argv: readonly string[], ...ports: number[]): Promise<void> {
    const child = this.#where.spawn(argv, {
      env: PLAIN_ENV,
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (text: Buffer) => (said += text.toString()));
    const ended = once(child, 'exit');
    this.#running.push({ child, ended });
    const open = Promise.all(ports.map((port) => waitForPort(this.#where, port, START_DEADLINE_MS)));
    const early = ended.then(() => {
      throw new Error(`${argv.join(' ')} ended:\n${said}`);
    });
    // It ends some day.
    early.catch(() => {});
    await Promise.race([open, early]);
  }

  #ownFolder(name: string): string {
    const folder = this.file(name);
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, NOBODY, NOBODY);
    return folder;
  }
}

function asNobody(...argv: string[]): string[] {
  return ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', ...argv];
}
