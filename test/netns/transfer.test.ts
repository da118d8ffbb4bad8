/** Bytes through the real thing: TUN, netproxy, sshd, target. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { LAB } from '../lab/namespaces.ts';
import { digestOf } from './bytes.ts';
import type { Received } from './bytes.ts';
import { DOWNLOAD_BYTES, PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const LARGE = 64 * 1024 * 1024;
const SMALL = 256 * 1024;
const FLOWS = 500;

let world: World;
let netproxy: Netproxy;
before(async () => {
  world = await World.create();
  netproxy = world.netproxy();
  await netproxy.ready();
});
after(async () => {
  await netproxy.stop();
  await world.close();
});

const exactly = (bytes: number): Received => ({ bytes, digest: digestOf(bytes) });

for (const family of ['v4', 'v6'] as const) {
  const target = LAB.target[family];
  describe(family, () => {
    test('64 MiB up, half-close, and the answer after it', async () => {
      assert.deepEqual(await world.client('upload', target, PORTS.digest, LARGE), exactly(LARGE));
    });

    test('64 MiB down, half-close by the target, and bytes up after it', async () => {
      assert.deepEqual(
        await world.client('download', target, PORTS.download, SMALL),
        exactly(DOWNLOAD_BYTES),
      );
      assert.deepEqual(await world.client('upload', target, PORTS.last), exactly(SMALL));
    });

    test('64 MiB both ways at once', async () => {
      assert.deepEqual(await world.client('echo', target, PORTS.echo, LARGE), exactly(LARGE));
    });

    test('nothing up and nothing down', async () => {
      assert.deepEqual(await world.client('echo', target, PORTS.echo, 0), exactly(0));
    });

    test(`${FLOWS} connections at once`, async () => {
      assert.deepEqual(await world.client('many', target, PORTS.echo, FLOWS), { right: FLOWS });
    });
  });
}
