/** Protocols of every kind through the tunnel, by the servers and clients that people use. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { LAB } from '../lab/namespaces.ts';
import type { Namespace, RunResult } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PEERS, PLAIN_ENV, SERVICE_PORTS, Services } from './services.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

/** A proxy that waits for the client's first bytes, to tell the protocol, adds 300 ms and more. */
const ADDED_MS = 150;
const COMMAND_DEADLINE_MS = 60_000;
const { v4: target } = LAB.target;

let world: World;
let netproxy: Netproxy;
let services: Services;
let gitServer: Sshd;

before(async () => {
  world = await World.create();
  services = new Services(world.lab.target, target);
  gitServer = await startSshd({
    netns: world.lab.target.name,
    address: target,
    // Without start-up files of the user's shell.
    config: ['SetEnv HOME=/nonexistent'],
  });
  netproxy = world.netproxy();
  await netproxy.ready();
  await services.startPeers();
  await services.startMysql();
});

after(async () => {
  await netproxy.stop();
  await services.stop();
  await gitServer.stop();
  await world.close();
});

function run(argv: readonly string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<RunResult> {
  const options = { env: { ...PLAIN_ENV, ...env }, timeoutMs: COMMAND_DEADLINE_MS, input };
  return world.lab.app.run(argv, options);
}

async function peer<T>(where: Namespace, ...args: string[]): Promise<T> {
  const options = { env: PLAIN_ENV, timeoutMs: COMMAND_DEADLINE_MS };
  const { stdout } = await where.run(['/usr/bin/python3', PEERS, ...args], options);
  return JSON.parse(stdout) as T;
}

/** A proxy that waits does so each time; a busy machine does not. */
const least = (times: readonly number[]): number => Math.min(...times);
const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

for (const [name, port] of [
  ['SMTP', () => SERVICE_PORTS.smtp],
  ['MySQL', () => SERVICE_PORTS.mysql],
  ['SSH', () => gitServer.port],
] as const) {
  test(`the greeting of ${name}, which the server sends first, waits for nothing`, async (t) => {
    const measure = (where: Namespace): Promise<{ connected: number[]; first: number[] }> =>
      peer(where, 'greeting', target, String(port()));
    const there = await measure(world.lab.target);
    const here = await measure(world.lab.app);
    const connected = least(here.connected);
    const added = least(here.first) - least(there.first);
    t.diagnostic(
      `connected after ${connected.toFixed(1)} ms, the greeting ${added.toFixed(1)} ms later than there`,
    );
    assert.ok(connected < ADDED_MS, `connect took ${connected} ms`);
    assert.ok(added < ADDED_MS, `${added} ms later than without the tunnel`);
  });
}

test('SMTP: a long message arrives as it was sent', async () => {
  assert.deepEqual(await peer(world.lab.app, 'smtp', target), { code: 250, same: true });
});

test('MySQL: rows in and out', async () => {
  const client = [
    'mariadb',
    '--no-defaults',
    '--protocol=tcp',
    '--skip-ssl',
    '--batch',
    '--skip-column-names',
  ];
  const mysql = [...client, `--host=${target}`, `--port=${SERVICE_PORTS.mysql}`, '--user=root'];
  const rows = Array.from(
    { length: 20_000 },
    (_, n) => [n, createHash('sha256').update(`${n}`).digest('hex')] as const,
  );
  const values = rows.map(([n, text]) => `(${n},'${text}')`).join(',');
  const sql = `create database d; use d; create table t (n int primary key, text char(64)); insert into t values ${values};`;
  const { stdout } = await run(mysql, `${sql} select * from t order by n;`);
  assert.ok(stdout === rows.map(([n, text]) => `${n}\t${text}\n`).join(''), 'the rows that came back differ');
});

test('PostgreSQL: COPY in and out', async () => {
  await services.startPostgres();
  const [sent, received] = [services.file('sent.tsv'), services.file('received.tsv')];
  const lines = Array.from(
    { length: 60_000 },
    (_, n) => `${n}\t${createHash('sha512').update(`${n}`).digest('hex')}\n`,
  );
  writeFileSync(sent, lines.join(''));
  const psql = [
    'psql',
    '--no-psqlrc',
    '--quiet',
    '--set=ON_ERROR_STOP=1',
    '--host',
    target,
    '--username=test',
    'postgres',
  ];
  await run(
    psql,
    `create table t (n int, text text);
\\copy t from '${sent}'
\\copy (select * from t order by n) to '${received}'
`,
  );
  assert.equal(digest(received), digest(sent));
});

test('Redis: a pipeline of 10,000 commands', async () => {
  await services.startRedis();
  const redis = ['redis-cli', '-h', target, '-p', String(SERVICE_PORTS.redis)];
  const commands = Array.from({ length: 10_000 }, (_, n) => `SET key:${n} value-${n}\r\n`);
  const { stdout } = await run([...redis, '--pipe'], commands.join(''));
  assert.match(stdout, /errors: 0, replies: 10000\n/);
  assert.equal((await run([...redis, 'DBSIZE'])).stdout, '10000\n');
  assert.equal((await run([...redis, 'GET', 'key:9999'])).stdout, 'value-9999\n');
});

test('TLS and HTTP/2: many requests on one connection, and an upload', async () => {
  await services.startHttps();
  const page = services.file('page');
  writeFileSync(page, randomBytes(4_000_000));
  const url = `https://target.test:${SERVICE_PORTS.https}`;
  const at = `target.test:${SERVICE_PORTS.https}:${target}`;
  const curl = ['curl', '-sS', '--fail', '--cacert', services.file('cert'), '--resolve', at];
  await run([...curl, '--http1.1', '--upload-file', page, `${url}/one`]);
  await run([...curl, '--http2', '--upload-file', page, `${url}/two`]);
  const got = (n: number): string => services.file(`got-${n}`);
  const wanted = Array.from({ length: 20 }, (_, n) => [
    '-o',
    got(n),
    `${url}/${n % 2 === 0 ? 'one' : 'two'}`,
  ]).flat();
  const format = '%{http_version} %{num_connects}\n';
  const { stdout } = await run([...curl, '--http2', '--parallel', '-w', format, ...wanted]);
  assert.deepEqual(stdout.trim().split('\n').toSorted(), [...Array<string>(19).fill('2 0'), '2 1']);
  for (let n = 0; n < 20; n++) assert.equal(digest(got(n)), digest(page), `file ${n}`);
});

test('WebSocket: messages of all sizes, a ping and the code of the close', async () => {
  const expected = { first: 'first', same: true, inOrder: true, closed: 4001 };
  assert.deepEqual(await peer(world.lab.app, 'websocket', target), expected);
});

test('gRPC: streams down, up, and both ways in turns', async () => {
  assert.deepEqual(await peer(world.lab.app, 'grpc', target), { down: true, up: true, turns: true });
});

test('git over ssh: a clone, and a push back', async () => {
  const { user, port, clientKeyFile, knownHostsFile } = gitServer;
  const ssh = `ssh -F none -i ${clientKeyFile} -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile=${knownHostsFile}`;
  const names = {
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@app.test',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@app.test',
  };
  const env = { ...names, GIT_SSH_COMMAND: ssh, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
  const git = async (...args: string[]): Promise<string> =>
    (await run(['git', ...args], '', env)).stdout.trim();
  const [first, there, clone] = [services.file('first'), services.file('there.git'), services.file('clone')];
  await git('init', '-q', '-b', 'main', first);
  writeFileSync(`${first}/large`, randomBytes(8_000_000));
  await git('-C', first, 'add', '.');
  await git('-C', first, 'commit', '-q', '-m', 'first');
  await git('clone', '-q', '--bare', first, there);

  await git('clone', '-q', `ssh://${user}@${target}:${port}${there}`, clone);
  assert.equal(await git('-C', clone, 'rev-parse', 'HEAD'), await git('-C', first, 'rev-parse', 'HEAD'));
  assert.equal(digest(`${clone}/large`), digest(`${first}/large`));

  writeFileSync(`${clone}/more`, randomBytes(2_000_000));
  await git('-C', clone, 'add', '.');
  await git('-C', clone, 'commit', '-q', '-m', 'second');
  await git('-C', clone, 'push', '-q', 'origin', 'main');
  assert.equal(await git('-C', there, 'rev-parse', 'main'), await git('-C', clone, 'rev-parse', 'HEAD'));
});
