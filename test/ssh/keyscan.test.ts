/** `netproxy keyscan` against real servers, and against those that do not answer. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { SSHD_BUILDS, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { connected, listen, release } from './harness.ts';

const MAIN = path.resolve(import.meta.dirname, '../../src/main.ts');
const TYPES = ['ecdsa', 'rsa'];

const servers: Sshd[] = [];

before(async () => {
  for (const build of SSHD_BUILDS) {
    const server = await startSshd({ build, start: false });
    servers.push(server);
    let config = readFileSync(server.configFile, 'utf8');
    for (const type of TYPES) {
      const key = path.join(server.directory, `host_${type}`);
      execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', key]);
      config += `HostKey ${key}\n`;
    }
    writeFileSync(server.configFile, config);
    await server.start();
  }
});

after(async () => {
  await release();
  await Promise.all(servers.map((server) => server.stop()));
});

/** Not synchronous: targets of the test live in this process. */
async function keyscan(
  ...args: string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  // A configuration in the environment would be an error, were it read.
  const env = { PATH: process.env['PATH'], NETPROXY_CONFIG: '/nonexistent/c.yaml' };
  const child = spawn(process.execPath, [MAIN, 'keyscan', ...args], { env });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => (texts[name] += chunk.toString()));
  }
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, ...texts };
}

/** What the server's own files say, as `TYPE BASE64` and fingerprint. */
function truth(server: Sshd): { keys: string[]; prints: string[] } {
  const files = ['host_key', ...TYPES.map((type) => `host_${type}`)].map((name) =>
    path.join(server.directory, `${name}.pub`),
  );
  return {
    keys: files.map((file) => readFileSync(file, 'utf8').split(' ').slice(0, 2).join(' ')),
    prints: files.map((file) => execFileSync('ssh-keygen', ['-lf', file]).toString().split(' ')[1]!),
  };
}

test('all keys of several servers, as configuration that works and as lines of known_hosts', async () => {
  const names = servers.map(({ address, port }) => `${address}:${port}`);
  const { status, stdout, stderr } = await keyscan(...names);
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /proves\s+(# )?nothing/);
  let count = 0;
  const text = stdout.replaceAll('  - host', () => `  - name: s${count++}\n    user: u\n    host`);
  const { config } = await loadConfig({
    flags: new Map([
      ['config', [{ text: '/c.yaml', where: '--config' }]],
      ['bastions[].identityFile', [{ text: '/key', where: '--identity' }]],
    ] as const),
    environment: {},
    readFile: (file) => Buffer.from(file === '/c.yaml' ? text : file === '/key' ? 'x' : ''),
  });
  assert.equal(config.bastions.length, servers.length);
  for (const [index, server] of servers.entries()) {
    const { keys, prints } = truth(server);
    assert.deepEqual(config.bastions[index]!.hostKeys.toSorted(), keys.toSorted());
    for (const print of prints) assert.ok(stdout.includes(print), print);
    const lines = stdout
      .split('\n')
      .filter((line) => line.startsWith('# ['))
      .map((line) => line.slice(2));
    await (await connected(server, { knownHosts: KnownHosts.parse(lines.join('\n'), 'scan') })).stop();
  }
});

test('the same as JSON', async () => {
  const [server] = servers;
  const { status, stdout } = await keyscan(`${server!.address}:${server!.port}`, '--json');
  assert.equal(status, 0);
  const { warning, bastions } = JSON.parse(stdout) as {
    warning: string;
    bastions: { host: string; port: number; hostKeys: string[]; keys: { fingerprint: string }[] }[];
  };
  assert.match(warning, /proves nothing/);
  const { keys, prints } = truth(server!);
  assert.deepEqual([bastions[0]!.host, bastions[0]!.port], [server!.address, server!.port]);
  assert.deepEqual(bastions[0]!.hostKeys.toSorted(), keys.toSorted());
  assert.deepEqual(bastions[0]!.keys.map(({ fingerprint }) => fingerprint).toSorted(), prints.toSorted());
});

test('those that do not answer are named, each with its reason, and the others are printed', async () => {
  const silent = await listen(() => {});
  const shut = await listen(() => {});
  await shut.close();
  const web = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const name = ({ endpoint }: typeof silent): string => `127.0.0.1:${endpoint.port}`;
  const [server] = servers;
  const { status, stdout, stderr } = await keyscan(
    ...[name(silent), name(shut), name(web), `${server!.address}:${server!.port}`],
    ...['--handshake-timeout', '10s'],
  );
  assert.equal(status, 1, stderr);
  assert.ok(stdout.includes(truth(server!).keys[0]!));
  assert.match(stderr, new RegExp(`KEYSCAN_FAILED: ${name(silent)}: no answer within 10 s`));
  assert.match(stderr, new RegExp(`KEYSCAN_FAILED: ${name(shut)}: .*ECONNREFUSED`));
  assert.match(stderr, new RegExp(`KEYSCAN_FAILED: ${name(web)}: `));
});

test('what is no host, and none at all, is told before anything is connected', async () => {
  const none = await keyscan();
  assert.equal(none.status, 64);
  assert.match(none.stderr, /the operand is missing/);
  const wrong = await keyscan('h.example:99999', 'u@h.example', 'a:b:c', '--handshake-timeout', '1');
  assert.equal(wrong.status, 64);
  for (const text of ['h.example:99999', 'u@h.example', 'a:b:c', '--handshake-timeout']) {
    assert.ok(wrong.stderr.includes(text), wrong.stderr);
  }
  assert.equal(wrong.stdout, '');
});
