/** Flows as operators see them: the list, the end of one, the line of the log at its end. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Connection, Connections } from '../../src/control/connections.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

let world: World;
let netproxy: Netproxy;

before(async () => {
  world = await World.create();
  netproxy = world.netproxy(
    '--rule',
    `ports: [${PORTS.closed}], via: reject`,
    '--control-listen',
    '127.0.0.1:9180',
  );
  await netproxy.ready();
});
after(() => world?.close());

const list = async (...flags: string[]): Promise<readonly Connection[]> =>
  (JSON.parse(await world.command('connections', '--json', ...flags)) as Connections).connections;

/** The lines of the log, and those that are kept only, about flows to a port. */
async function ended(port: number, result: string): Promise<Record<string, unknown>> {
  let found: Record<string, unknown> | undefined;
  await waitFor(`a flow to ${port} to end as ${result}`, async () => {
    const lines = (
      await world.lab.app.run(['curl', '-s', '--unix-socket', await socket(), 'http://x/v1/logs'])
    ).stdout;
    found = lines
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .find(({ to, result: got }) => to === `${LAB.target.v4}:${port}` && got === result);
    return found !== undefined;
  });
  return found!;
}

async function socket(): Promise<string> {
  const { stdout } = await world.lab.app.run([
    'sh',
    '-c',
    'echo /run/netproxy/$(readlink /proc/self/ns/net | tr -dc 0-9).sock',
  ]);
  return stdout.trim();
}

test('a connection is listed while it is there, with its bytes as they grow', async () => {
  assert.deepEqual(await list(), []);
  const kept = world.client('keep', LAB.target.v4, PORTS.echo, 50);
  await waitFor('bytes both ways', async () => {
    const [one] = await list();
    return one !== undefined && one.bytesOut > 3000 && one.bytesIn > 3000;
  });
  const [one] = await list('--sort', 'bytes');
  assert.ok(one !== undefined);
  assert.deepEqual(
    [one.protocol, one.state, one.to, one.uid, one.verdict, one.bastion, one.rule],
    ['tcp', 'open', `${LAB.target.v4}:${PORTS.echo}`, 0, 'main', 'main', 'the last resort'],
  );
  assert.ok((one.openMs ?? 0) > 0 && one.ageSeconds >= (one.openMs ?? 0) / 1000);
  assert.match(
    await world.command('connections'),
    /^ *ID +STATE.*\n +\d+ +open +uid 0 .* kB\n1 connection\n$/,
  );

  assert.equal(
    await world.command('connections', '--kill', String(one.id)),
    `connection ${one.id} was ended\n`,
  );
  assert.equal(((await kept) as { code: string }).code, 'ECONNRESET');
  assert.deepEqual(await list(), []);
  const line = await ended(PORTS.echo, 'killed');
  assert.ok((line['bytesOut'] as number) >= one.bytesOut && (line['bytesIn'] as number) >= one.bytesIn);
  assert.deepEqual(
    [line['uid'], line['bastion'], line['verdict'], line['flow']],
    [0, 'main', 'main', one.id],
  );
  await assert.rejects(
    world.command('connections', '--kill', String(one.id)),
    /CONTROL_REFUSED.*no connection/s,
  );
});

test('what is over has one line, with why: in order, reset, refused, rejected by rule', async () => {
  await world.client('upload', LAB.target.v4, PORTS.digest, 100_000);
  const uploaded = await ended(PORTS.digest, 'finished');
  assert.equal(uploaded['bytesOut'], 100_000);
  assert.ok((uploaded['bytesIn'] as number) > 0 && (uploaded['openMs'] as number) > 0);
  assert.equal(
    (await world.client<{ code: string }>('connect', LAB.target.v4, PORTS.closed)).code,
    'ECONNREFUSED',
  );
  const rejected = await ended(PORTS.closed, 'refused');
  assert.match(String(rejected['rule']), /^--rule:1 ports 9009, via reject$/);
  assert.equal((await world.client<{ code: string }>('connect', LAB.target.v4, 9010)).code, 'ECONNREFUSED');
  assert.equal((await ended(9010, 'refused'))['verdict'], 'main');
  assert.match(netproxy.stderr, /"to":"[^"]*:9009".*flow rejected: refused by rule/);
  assert.doesNotMatch(netproxy.stderr, /flow closed/, 'by default those that went well are not in the log');
});

test('--watch lists until a signal', async () => {
  const child = world.lab.app.spawn(
    [process.execPath, join(import.meta.dirname, '../../dist/main.js'), 'connections', '--watch', '--json'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let out = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (out += text));
  await waitFor('three lists', () => out.split('\n').length > 3);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGINT');
  assert.equal(await exited, 0);
});

test('a reader of "connections" takes only what it knows', async () => {
  await assert.rejects(
    world.command('connections', '--sort', 'size'),
    /--sort: found "size"; allowed: age, bytes/,
  );
});

test('by TCP there is more with the token only, which may change while it runs', async () => {
  await netproxy.stop();
  const file = join(world.sshd.directory, 'token');
  const [one, two] = ['0123456789abcdef-one', '0123456789abcdef-two'];
  writeFileSync(file, `${one}\n`);
  netproxy = world.netproxy('--control-listen', '127.0.0.1:9180', '--control-token-file', file);
  await netproxy.ready();
  const get = async (path: string, ...flags: string[]): Promise<string> => {
    const argv = [
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      ...flags,
      `http://127.0.0.1:9180${path}`,
    ];
    return (await world.lab.app.run(argv)).stdout;
  };
  const bearer = (token: string): string[] => ['-H', `authorization: Bearer ${token}`];
  assert.equal(await get('/livez'), '200');
  assert.equal(await get('/v1/connections'), '401');
  assert.equal(await get('/v1/connections', ...bearer(two)), '401');
  assert.equal(await get('/v1/connections', ...bearer(one)), '200');
  assert.equal(await get('/v1/connections/99', '-X', 'DELETE', ...bearer(one)), '404');
  assert.equal(await get('/v1/connections', '-X', 'POST', ...bearer(one)), '405');
  assert.equal(await get('//'), '404');
  writeFileSync(file, `${two}\n`);
  await waitFor('the new token to count', async () => (await get('/v1/status', ...bearer(two))) === '200');
  assert.equal(await get('/v1/status', ...bearer(one)), '401');
  assert.ok(!netproxy.stderr.includes(one) && !netproxy.stderr.includes(two));
});

test('a token that could be guessed is refused', async () => {
  const file = join(world.sshd.directory, 'short');
  writeFileSync(file, 'short\n');
  const { code, stderr } = await world.refused([...world.flags, '--control-token-file', file]);
  assert.equal(code, 64);
  assert.match(stderr, /at least 16 characters/);
});

test('metrics count what went through, by TCP too, and cost nothing before the first scrape', async () => {
  await netproxy.stop();
  netproxy = world.netproxy('--control-listen', '127.0.0.1:9180');
  await netproxy.ready();
  const { pid } = netproxy.child;
  const mapped = async (): Promise<string> =>
    (await world.lab.app.run(['cat', `/proc/${pid}/status`])).stdout;
  const rss = async (): Promise<number> => Number(/VmRSS:\s+(\d+)/.exec(await mapped())?.[1]);
  const scrape = async (): Promise<string> =>
    (await world.lab.app.run(['curl', '-s', 'http://127.0.0.1:9180/metrics'])).stdout;
  const value = (text: string, name: string): number =>
    Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')
        .at(-1),
    );
  const before = await rss();
  const first = await scrape();
  const grown = (await rss()) - before;
  assert.ok(grown < 16_000, `the first scrape took ${grown} KiB`);
  assert.equal(value(first, 'netproxy_leaked_packets_total'), 0);
  assert.equal(value(first, 'netproxy_bastion_up{bastion="main"}'), 1);
  await world.client('upload', LAB.target.v4, PORTS.digest, 300_000);
  const counted =
    'netproxy_flows_total{protocol="tcp",verdict="upstream",rule="the last resort",bastion="main",result="finished"}';
  let text = '';
  await waitFor('the flow to be counted', async () => value((text = await scrape()), counted) === 1);
  assert.ok(value(text, 'netproxy_bytes_total{bastion="main",direction="out"}') >= 300_000);
  assert.equal(value(text, 'netproxy_open_seconds_count{bastion="main"}'), 1);
  await waitFor(
    'a keepalive',
    async () => value(await scrape(), 'netproxy_round_trip_seconds_count{bastion="main"}') >= 1,
    20_000,
  );
});
