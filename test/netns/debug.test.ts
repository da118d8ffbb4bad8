/** `netproxy logs` and `netproxy debug bundle`, of a netproxy that runs and of one that does not. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const TOKEN = 'token-that-nobody-may-see';
const PASSWORD = 'password-that-nobody-may-see';
const PASSPHRASE = 'passphrase-that-nobody-may-see';

let world: World;
let netproxy: Netproxy;
let folder: string;
const main = join(import.meta.dirname, '../../dist/main.js');

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'netproxy-debug-'));
  world = await World.create();
  const secret = (name: string, text: string): string => {
    writeFileSync(join(folder, name), `${text}\n`);
    return join(folder, name);
  };
  netproxy = world.netproxy(
    ...['--control-token-file', secret('token', TOKEN), '--password-file', secret('password', PASSWORD)],
    ...['--identity-passphrase-file', secret('passphrase', PASSPHRASE), '--log-level', 'debug'],
  );
  await netproxy.ready();
});
after(async () => {
  await world?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('logs are those on stderr, as JSON and for people', async () => {
  const written = (): string[] => netproxy.stderr.trimEnd().split('\n');
  const lines = (await world.command('logs', '--json')).trimEnd().split('\n');
  assert.deepEqual(lines, written().slice(0, lines.length));
  assert.ok(lines.length > 3);
  const human = await world.command('logs');
  assert.match(human, /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: the namespace is taken over$/m);
});

test('--follow goes on until a signal, and fails when netproxy ends', async () => {
  const follow = (): { stop(): Promise<number | null>; out(): string; exit: Promise<number | null> } => {
    const child = world.lab.app.spawn([process.execPath, main, 'logs', '--follow', '--json'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let out = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (out += text));
    const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const stop = (): Promise<number | null> => {
      child.kill('SIGTERM');
      return exit;
    };
    return { stop, out: () => out, exit };
  };
  const one = follow();
  await waitFor('the lines before', () => one.out().includes('the namespace is taken over'));
  await world.client('upload', LAB.target.v4, PORTS.digest, 1000);
  await waitFor('the line of a flow', () => /"result":"finished"/.test(one.out()));
  assert.equal(await one.stop(), 0);
  const other = follow();
  await waitFor('the lines', () => other.out() !== '');
  await netproxy.stop();
  assert.equal(await other.exit, 1);
  netproxy = world.netproxy();
  await netproxy.ready();
});

/** The parts of a bundle, unpacked by tar. */
function unpacked(file: string): Map<string, string> {
  const into = mkdtempSync(join(folder, 'unpacked-'));
  execFileSync('tar', ['-xzf', file, '-C', into]);
  const inner = join(into, 'netproxy-debug');
  return new Map(readdirSync(inner).map((name) => [name, readFileSync(join(inner, name), 'utf8')]));
}

const PARTS = [
  ...['about.json', 'config.json', 'connections.json', 'doctor.json', 'ip-address.txt', 'ip-route.txt'],
  ...['ip-rule.txt', 'log.ndjson', 'metrics.txt', 'nft.txt', 'resolv.conf.txt', 'sockets.txt', 'status.json'],
];

test('a bundle has all parts, for its owner only, and no secret', async () => {
  await netproxy.stop();
  const password = join(folder, 'password');
  const flags = ['--control-token-file', join(folder, 'token'), '--password-file', password];
  netproxy = world.netproxy(
    ...flags,
    '--identity-passphrase-file',
    join(folder, 'passphrase'),
    '--log-level',
    'debug',
  );
  await netproxy.ready();
  const file = join(folder, 'bundle.tar.gz');
  const told = JSON.parse(await world.command('debug', 'bundle', '--out', file, '--json')) as {
    parts: string[];
    lacking: object;
  };
  assert.deepEqual([told.parts.toSorted(), told.lacking], [PARTS, {}]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const parts = unpacked(file);
  assert.deepEqual([...parts.keys()].toSorted(), PARTS);
  assert.equal((JSON.parse(parts.get('status.json')!) as { ready: boolean }).ready, true);
  assert.match(parts.get('config.json')!, /"key":"bastions\[0\]\.passwordFile","value":"[^"]*password"/);
  assert.match(parts.get('metrics.txt')!, /^netproxy_ready 1$/m);
  assert.match(parts.get('log.ndjson')!, /the namespace is taken over/);
  assert.match(parts.get('ip-route.txt')!, /default.*tun0/);
  assert.match(parts.get('nft.txt')!, /table inet netproxy/);
  assert.ok(
    (JSON.parse(parts.get('doctor.json')!) as { check: string }[]).some(
      ({ check }) => check === '/dev/net/tun',
    ),
  );
  const key = readFileSync(world.sshd.clientKeyFile, 'utf8')
    .split('\n')
    .filter((line) => line.length > 40);
  assert.ok(key.length > 2);
  for (const [name, text] of parts) {
    for (const secret of [TOKEN, PASSWORD, PASSPHRASE, ...key, 'PRIVATE KEY']) {
      assert.ok(!text.includes(secret), `${name} has a secret`);
    }
  }
});

test('without netproxy, and to standard output, there is a bundle too', async () => {
  await netproxy.stop();
  const file = join(folder, 'down.tar.gz');
  await world.lab.app.run(['sh', '-c', `"${process.execPath}" "${main}" debug bundle --out - > "${file}"`]);
  const parts = unpacked(file);
  assert.match(parts.get('status.json')!, /^not to be had: no netproxy answers/);
  assert.match(parts.get('ip-rule.txt')!, /lookup/);
  await assert.rejects(
    world.command('debug', 'bundle', '--out', join(folder, 'nowhere', 'x')),
    /OUTPUT_UNWRITABLE[^]*--out/,
  );
  await assert.rejects(world.command('debug'), /USAGE_INVALID[^]*netproxy debug bundle/);
});
