/** Start, stop, crash and return of netproxy and of its bastion. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, test } from 'node:test';
import { countLeaks, LAB, LEAK_FILTER, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const READY_MS = 1000;
/** A stall of the machine hardly meets each of so many starts. */
const STARTS = 5;
/** Where so many starts of an empty Node take more than a second, a start may take as long. */
const NODES = 12;

let world: World;
const started: Netproxy[] = [];
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  for (const netproxy of started.splice(0)) await netproxy.stop('SIGKILL');
  await world.close();
});

function start(...flags: string[]): Netproxy {
  const netproxy = world.netproxy(...flags);
  started.push(netproxy);
  return netproxy;
}

interface Connect {
  readonly connected?: boolean;
  readonly code?: string;
}
const connect = (address: string): Promise<Connect> => world.client('connect', address, PORTS.echo);
const both = [LAB.target.v4, LAB.target.v6];

test('it is ready within a second, and says so in one line', async () => {
  const times: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const since = performance.now();
    await world.lab.app.run([process.execPath, '-e', '0']);
    times.push(performance.now() - since);
  }
  const bound = Math.max(READY_MS, NODES * Math.min(...times.splice(0)));
  let netproxy: Netproxy;
  for (;;) {
    const since = performance.now();
    netproxy = start();
    await netproxy.ready();
    times.push(performance.now() - since);
    if (times.at(-1)! < bound || times.length === STARTS) break;
    await netproxy.stop();
    await world.command('release');
  }
  assert.ok(times.at(-1)! < bound, `${times.map(Math.round).join(' ')} ms of ${Math.round(bound)}`);
  assert.match(netproxy.stdout, /^[^\n]*ready[^\n]*\n$/);
  for (const address of both) assert.deepEqual(await connect(address), { connected: true });
});

test('SIGTERM ends it with 0 and SIGINT with 130', async () => {
  for (const [signal, code] of [
    ['SIGTERM', 0],
    ['SIGINT', 130],
  ] as const) {
    const netproxy = start();
    await netproxy.ready();
    assert.equal(await netproxy.stop(signal), code, netproxy.stderr);
  }
});

test('the routes are taken over, and release puts the old ones back', async () => {
  const before = await world.lab.app.routes();
  const netproxy = start();
  await netproxy.ready();
  assert.notEqual(await world.lab.app.routes(), before);
  await netproxy.stop();
  for (const address of both) assert.equal((await connect(address)).code, 'ENETUNREACH');
  await world.command('release');
  assert.equal(await world.lab.app.routes(), before);
});

test('with --on-exit open the old routes are back after the end', async () => {
  const before = await world.lab.app.routes();
  const netproxy = start('--on-exit', 'open');
  await netproxy.ready();
  assert.equal(await netproxy.stop(), 0);
  assert.equal(await world.lab.app.routes(), before);
});

test('after SIGKILL connections fail at once, nothing leaks, and a restart works', async () => {
  const first = start();
  await first.ready();
  // Our own connection to the bastion is no leak.
  const filter = `${LEAK_FILTER} and not host ${LAB.bastion.v4}`;
  const { count, lines } = await countLeaks(
    world.lab.app,
    'eth0',
    async () => {
      for (const address of both) assert.deepEqual(await connect(address), { connected: true });
      assert.equal(await first.stop('SIGKILL'), 'SIGKILL');
      for (const address of both) assert.equal((await connect(address)).code, 'ENETUNREACH');
      const second = start();
      await second.ready();
      for (const address of both) assert.deepEqual(await connect(address), { connected: true });
    },
    filter,
  );
  assert.equal(count, 0, lines.join('\n'));
});

test('a bastion that comes up late is waited for by netproxy and by connections', async () => {
  await world.sshd.halt();
  const netproxy = start();
  await waitFor('the takeover', () => netproxy.stderr.includes('the namespace is taken over'));
  assert.equal(netproxy.child.exitCode, null, netproxy.stderr);
  assert.equal(netproxy.stdout, '');
  const waiting = Promise.all(both.map(connect));
  await sleep(500);
  await world.sshd.start();
  assert.deepEqual(await waiting, [{ connected: true }, { connected: true }]);
  await netproxy.ready();
});

test('a bastion that restarts is found again', async () => {
  const netproxy = start();
  await netproxy.ready();
  await world.sshd.restart();
  assert.deepEqual(await connect(LAB.target.v4), { connected: true });
});
