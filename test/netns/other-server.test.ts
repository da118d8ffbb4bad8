/** A bastion that is not OpenSSH: uploads that share a connection go on, however seldom it invites more. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import { LAB, waitForPort } from '../lab/namespaces.ts';
import type { Received } from './bytes.ts';
import { digestOf } from './bytes.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

const UPLOADS = 3;
const BYTES = 6 * 1024 * 1024;

for (const [what, ident] of [
  ['says who it is', 'other'],
  // Found out by the first upload that waits, within two intervals of the keepalive.
  ['says that it is OpenSSH', 'OpenSSH_9.2p1'],
] as const) {
  test(`uploads beside each other to a server that ${what}`, { timeout: 120_000 }, async (t) => {
    const world = await World.create({ sshd: false });
    t.after(() => world.close());
    const { sshd, lab } = world;
    const script = join(import.meta.dirname, 'other-server.ts');
    const words = [script, LAB.bastion.v4, String(sshd.port), sshd.hostKeyFile, ident];
    const server = lab.bastion.spawn([process.execPath, ...words], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    t.after(() => server.kill('SIGKILL'));
    await waitForPort(lab.bastion, sshd.port);
    const netproxy = world.netproxy('--keep-alive', '1s');
    await netproxy.ready();
    const upload = async (): Promise<Received> => world.client('upload', LAB.target.v4, PORTS.digest, BYTES);
    const received = await Promise.all(Array.from({ length: UPLOADS }, upload));
    for (const { digest } of received) assert.equal(digest, digestOf(BYTES));
  });
}
