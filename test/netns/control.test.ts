/** The control interface of a running netproxy: readiness, status, `wait`, probes by TCP. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { World } from './world.ts';
import type { WorldOptions } from './world.ts';

async function inWorld(options: WorldOptions, body: (world: World) => Promise<void>): Promise<void> {
  const world = await World.create(options);
  try {
    await body(world);
  } finally {
    await world.close();
  }
}

interface Readyz {
  readonly ready: boolean;
  readonly conditions: readonly { name: string; ok: boolean; reason: string; forSeconds: number }[];
}

/** Asks over TCP in the application's namespace. */
async function get(world: World, path: string): Promise<{ status: number; body: unknown }> {
  const script = `fetch(process.argv[1]).then(async (r) => console.log(JSON.stringify({ status: r.status, body: await r.json() })))`;
  const url = `http://127.0.0.1:9180${path}`;
  const { stdout } = await world.lab.app.run([process.execPath, '-e', script, url]);
  return JSON.parse(stdout) as { status: number; body: unknown };
}

test('wait returns when it is ready, and status tells of it', async () => {
  await inWorld({}, async (world) => {
    const waiting = world.command('wait', '30s');
    const netproxy = world.netproxy();
    assert.equal(await waiting, 'netproxy is ready\n');
    await netproxy.ready();
    assert.match(netproxy.stdout, /ready/);
    const status = JSON.parse(await world.command('status', '--json')) as Readyz & {
      version: string;
      bastions: { name: string; state: string; connections: number }[];
      flows: number;
      leakedPackets: number;
    };
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
      version: string;
    };
    assert.equal(status.version, version);
    assert.equal(status.ready, true);
    assert.deepEqual(
      status.conditions.map(({ name, ok }) => [name, ok]),
      [
        ['takeover', true],
        ['bastion', true],
        ['channel', true],
      ],
    );
    assert.deepEqual(
      status.bastions.map(({ name, state, connections }) => [name, state, connections]),
      [['main', 'ready', 1]],
    );
    assert.equal(status.leakedPackets, 0);
    assert.match(await world.command('status'), /netproxy .*, ready, .*leaked packets 0\n.*takeover/);
  });
});

test('it is not ready while the bastion is away, says why, and is again afterwards', async () => {
  await inWorld({}, async (world) => {
    world.netproxy('--control-listen', '127.0.0.1:9180');
    await world.command('wait', '30s');
    assert.equal((await get(world, '/readyz')).status, 200);
    await world.sshd.halt();
    let told: Readyz | undefined;
    await waitFor('not ready', async () => {
      const { status, body } = await get(world, '/readyz');
      told = body as Readyz;
      return status === 503;
    });
    const lacking = told!.conditions.filter(({ ok }) => !ok);
    assert.deepEqual(
      lacking.map(({ name }) => name),
      ['bastion'],
    );
    assert.match(lacking[0]!.reason, /^main: /);
    assert.deepEqual((await get(world, '/livez')).status, 200, 'nobody is to restart it for that');
    await world.sshd.start();
    await world.command('wait', '30s');
    assert.equal((await get(world, '/healthz')).status, 200);
  });
});

test('by TCP there is health, and nothing that tells of flows', async () => {
  await inWorld({}, async (world) => {
    world.netproxy('--control-listen', '127.0.0.1:9180');
    await world.command('wait', '30s');
    assert.equal((await get(world, '/v1/status')).status, 404);
  });
});

test('a bastion that lets in but forbids forwarding is not ready', async () => {
  await inWorld({ config: ['AllowTcpForwarding no'] }, async (world) => {
    const netproxy = world.netproxy();
    await netproxy.ready();
    const script = ['wait', '5s', '--json'];
    await assert.rejects(
      world.command(...script),
      /NOT_READY[^]*channel: opening a channel to 127\.0\.0\.1:22: [^]*readyTarget/,
    );
  });
});

test('where only some targets are permitted, readyTarget names one of them', async () => {
  await inWorld({ config: [`PermitOpen ${LAB.target.v4}:9`] }, async (world) => {
    world.netproxy('--ready-target', `${LAB.target.v4}:9`);
    await world.command('wait', '30s');
  });
});

test('the socket is for its owner and group, and a killed one is taken over', async () => {
  await inWorld({}, async (world) => {
    const path = join(world.sshd.directory, 'control.sock');
    const first = world.netproxy('--control-socket', path);
    await world.command('wait', '30s', '--control-socket', path);
    assert.equal(statSync(path).mode & 0o777, 0o660);
    await first.stop('SIGKILL');
    await assert.rejects(world.command('status', '--control-socket', path), /NOT_RUNNING/);
    world.netproxy('--control-socket', path);
    await world.command('wait', '30s', '--control-socket', path);
  });
});

test('the health probe says what readyz says, and finds the socket by itself', async () => {
  await inWorld({}, async (world) => {
    const probe = join(import.meta.dirname, '../../native/build/Release/health');
    const ask = (...args: string[]): Promise<{ code: number | null; stdout: string }> =>
      world.lab.app.run([probe, ...args], { mayFail: true });
    const before = await ask();
    assert.equal(before.code, 1);
    assert.match(before.stdout, /\.sock: No such file or directory/);
    world.netproxy();
    await world.command('wait', '30s');
    const ready = await ask();
    assert.equal(ready.code, 0, ready.stdout);
    assert.equal((JSON.parse(ready.stdout) as Readyz).ready, true);
    await world.sshd.halt();
    await waitFor('the probe to fail', async () => (await ask()).code === 1);
    assert.equal((JSON.parse((await ask()).stdout) as Readyz).ready, false);
    assert.equal((await ask('/nowhere/x.sock')).code, 1);
    assert.match((await ask(`/${'x'.repeat(200)}`)).stdout, /File name too long/);
  });
});
