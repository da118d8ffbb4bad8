/** Keys that change under full load: no byte may be lost, repeated or sent under the wrong key. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAB } from '../lab/namespaces.ts';
import { digestOf } from './bytes.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

const BYTES = 64 * 1024 * 1024;

for (const cipher of ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes128-ctr']) {
  test(`64 MiB both ways, new keys every 4 MiB, ${cipher}`, async () => {
    const world = await World.create({ config: ['RekeyLimit 4M', `Ciphers ${cipher}`] });
    const netproxy = world.netproxy();
    try {
      await netproxy.ready();
      const expected = { bytes: BYTES, digest: digestOf(BYTES) };
      assert.deepEqual(await world.client('echo', LAB.target.v4, PORTS.echo, BYTES), expected);
      assert.equal(await netproxy.stop(), 0);
    } finally {
      await netproxy.stop('SIGKILL');
      await world.close();
    }
  });
}
