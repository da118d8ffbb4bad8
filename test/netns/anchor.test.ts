/** The anchor: closes a namespace before netproxy runs in it, and survives what becomes of netproxy. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { UPLINK_TABLE } from '../../src/netns/ids.ts';
import { countLeaks, LAB } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

const anchor = resolve(import.meta.dirname, '../../native/build/Release/anchor');

/** Starts the anchor and waits until it says what it did. */
async function drop(
  world: World,
  before: readonly string[] = [],
): Promise<{ said: string; end(): Promise<number | null> }> {
  const child = world.lab.app.spawn([...before, anchor], { stdio: ['ignore', 'ignore', 'pipe'] });
  const [chunk] = (await once(child.stderr!.setEncoding('utf8'), 'data')) as [string];
  return {
    said: chunk,
    end: async () => {
      const exited = once(child, 'exit') as Promise<[number | null]>;
      child.kill('SIGTERM');
      return (await exited)[0];
    },
  };
}

test('it closes the namespace, netproxy opens it by the tunnel, and release by the uplink', async () => {
  const world = await World.create();
  try {
    const { app } = world.lab;
    const before = await app.routes();
    const held = await drop(world);
    assert.match(held.said, /closed until netproxy runs \(2 default routes\)/);
    const connect = (address: string): Promise<{ code?: string; connected?: boolean }> =>
      world.client('connect', address, PORTS.echo);
    const { count, lines } = await countLeaks(app, 'eth0', async () => {
      for (const address of [LAB.target.v4, LAB.target.v6]) {
        assert.equal((await connect(address)).code, 'ENETUNREACH');
      }
    });
    assert.equal(count, 0, lines.join('\n'));
    for (const family of ['-4', '-6']) {
      const { stdout } = await app.run(['ip', family, 'route', 'show', 'table', UPLINK_TABLE]);
      assert.match(stdout, /default via/);
    }
    for (let round = 0; round < 2; round++) {
      const netproxy = world.netproxy();
      await netproxy.ready();
      assert.deepEqual(await connect(LAB.target.v4), { connected: true });
      assert.deepEqual(await connect(LAB.target.v6), { connected: true });
      await netproxy.stop(round === 0 ? 'SIGKILL' : 'SIGTERM');
    }
    await world.command('release');
    assert.equal(await app.routes(), before);
    assert.equal(await held.end(), 0);
  } finally {
    await world.close();
  }
});

test('without NET_ADMIN it says that the namespace is open, and stays', async () => {
  const world = await World.create();
  try {
    const before = await world.lab.app.routes();
    const held = await drop(world, ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin']);
    assert.match(held.said, /Operation not permitted/);
    assert.equal(await world.lab.app.routes(), before);
    assert.equal(await held.end(), 0);
  } finally {
    await world.close();
  }
});
