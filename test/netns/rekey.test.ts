/** Keys that change under full load: no byte may be lost, repeated or sent under the wrong key. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { LAB } from '../lab/namespaces.ts';
import { digestOf } from './bytes.ts';
import { PORTS } from './ports.ts';
import { SSHD_BUILDS } from '../lab/sshd.ts';
import { World } from './world.ts';
import type { WorldOptions } from './world.ts';

const MIB = 1024 * 1024;
/** With the last JavaScript moves the bytes, with all others native code does. */
const CIPHERS = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'chacha20-poly1305@openssh.com',
  'aes128-ctr',
];

interface Load {
  readonly name: string;
  /** Lines for sshd_config; flags of netproxy. */
  readonly config?: readonly string[];
  readonly flags?: readonly string[];
  readonly bytes: number;
  /** Goes on for at least so long, in exchanges of `bytes`. */
  readonly ms?: number;
  /** How often keys must have been agreed on at least after the login. */
  readonly least: number;
}

/** How much longer a slow machine may take. */
const SLOW = 5;
const BOTH = 'by both at once';
const LOADS: readonly Load[] = [
  { name: 'every 4 MiB by sshd', config: ['RekeyLimit 4M'], bytes: 64 * MIB, least: 10 },
  { name: 'every 64 MiB by sshd', config: ['RekeyLimit 64M'], bytes: 256 * MIB, least: 2 },
  {
    name: 'every second by sshd',
    config: ['RekeyLimit default 1'],
    bytes: 64 * MIB,
    ms: 4000,
    least: 2,
  },
  {
    name: 'every 100 ms by us',
    flags: ['--rekey-interval', '100ms'],
    bytes: 64 * MIB,
    ms: 2000,
    least: 5,
  },
  {
    name: BOTH,
    config: ['RekeyLimit 4M'],
    flags: ['--rekey-interval', '20ms'],
    bytes: 64 * MIB,
    ms: 2000,
    least: 10,
  },
];

async function show(
  { config = [], flags = [], bytes, ms = 0, least }: Load,
  t: TestContext,
  more: WorldOptions,
): Promise<void> {
  const world = await World.create({
    ...more,
    config: [...config, ...(more.config ?? []), 'LogLevel DEBUG1'],
  });
  t.after(() => world.close());
  const netproxy = world.netproxy(...flags);
  await netproxy.ready();
  const expected = { bytes, digest: digestOf(bytes) };
  const times = (): number => world.sshd.log().match(/SSH2_MSG_NEWKEYS received/g)?.length ?? 0;
  // On a slow machine an exchange of keys takes longer than the time from one to the next.
  const end = performance.now() + ms;
  const last = performance.now() + SLOW * ms;
  do assert.deepEqual(await world.client('echo', LAB.target.v4, PORTS.echo, bytes), expected);
  while (performance.now() < end || (performance.now() < last && times() <= least));
  assert.ok(times() > least, `${times()} times\n${netproxy.stderr.slice(-2000)}`);
  const log = world.sshd.log();
  assert.equal(log.match(/Accepted publickey/g)?.length, 1, netproxy.stderr.slice(-2000));
  assert.equal(await netproxy.stop(), 0);
}

for (const load of LOADS) {
  for (const cipher of CIPHERS) {
    test(`${load.bytes / MIB} MiB both ways, new keys ${load.name}, ${cipher}`, (t) =>
      show(load, t, { config: [`Ciphers ${cipher}`] }));
  }
}

for (const build of SSHD_BUILDS.slice(1)) {
  for (const load of LOADS.filter(({ name }) => name === BOTH)) {
    test(`${load.bytes / MIB} MiB both ways, new keys ${load.name}, another OpenSSH`, (t) =>
      show(load, t, { build }));
  }
}
