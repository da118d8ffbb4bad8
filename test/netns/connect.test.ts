/** What connect(2) tells the application, and that it is told at once. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LAB } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

/** Milliseconds. The kernel sends a SYN again after 1 s: an answer before that was the first one's. */
const AT_ONCE_MS = 900;

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

/** On the target's LAN, where nobody answers for them. */
const ABSENT = { v4: '198.51.100.77', v6: '2001:db8:2::77' };
/** Milliseconds. Address resolution in the bastion gives up after three probes a second apart. */
const RESOLUTION_MS = 6000;

async function code(address: string, port: number, withinMs = AT_ONCE_MS): Promise<string> {
  const once = (): Promise<{ code?: string; ms?: number }> => world.client('connect', address, port);
  let result = await once();
  // A stall of the machine does not meet each, and what only the second SYN brings about comes late each time.
  for (let again = 0; again < 2 && (result.ms ?? 0) >= withinMs; again++) result = await once();
  assert.ok((result.ms ?? 0) < withinMs, `took ${result.ms} ms`);
  return result.code ?? 'connected';
}

for (const family of ['v4', 'v6'] as const) {
  test(`an open port (${family})`, async () => {
    assert.equal(await code(LAB.target[family], PORTS.echo), 'connected');
  });

  test(`a closed port is ECONNREFUSED (${family})`, async () => {
    assert.equal(await code(LAB.target[family], PORTS.closed), 'ECONNREFUSED');
  });

  test(`an unreachable host is EHOSTUNREACH (${family})`, async () => {
    assert.equal(await code(ABSENT[family], PORTS.echo, RESOLUTION_MS), 'EHOSTUNREACH');
  });

  // sshd does not tell the errno of a connect that fails at once, only that it failed.
  test(`what the bastion has no route to is ENETUNREACH (${family})`, async () => {
    assert.equal(await code(LAB.networkless[family], PORTS.echo), 'ENETUNREACH');
    assert.equal(await code(LAB.unreachable[family], PORTS.echo), 'ENETUNREACH');
  });
}

test('a metadata address is ENETUNREACH and never reaches the bastion', async () => {
  assert.equal(await code('169.254.169.254', 80), 'ENETUNREACH');
  assert.ok(!world.sshd.log().includes('169.254.169.254'));
});

// Numbers of flows and channels are used again all the time, while answers, ends and news of others are on their way.
test(
  'thousands of short connections, 50 at a time: each has its byte back',
  { timeout: 120_000 },
  async () => {
    const { failed } = await world.client<{ failed: string[] }>('churn', LAB.target.v4, PORTS.echo, 8000);
    assert.deepEqual(failed, []);
  },
);
