/** Several connections to one real server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { Channel } from '../../src/core/dialer.ts';
import { POOL_CHANNELS_MAX } from '../../src/core/limits.ts';
import type { Bastion, BastionOptions } from '../../src/ssh/bastion.ts';
import { waitFor } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd, SshdOptions } from '../lab/sshd.ts';
import { connected, failureOf, listen, LogLines, ManualSource, open, TextSink } from './harness.ts';
import type { Target } from './harness.ts';

/** Leaves room for about 57 channels. */
const DESCRIPTORS = 64;

interface Lab {
  readonly sshd: Sshd;
  readonly bastion: Bastion;
  readonly target: Target;
  readonly log: LogLines;
}

async function lab(t: TestContext, server: SshdOptions, options: Partial<BastionOptions> = {}): Promise<Lab> {
  const target = await listen((socket) => void socket.write('hello'));
  t.after(() => target.close());
  const sshd = await startSshd(server);
  t.after(() => sshd.stop());
  const log = new LogLines();
  const bastion = await connected(sshd, { log, ...options });
  t.after(() => bastion.stop());
  return { sshd, bastion, target, log };
}

/** Dials `count` times at once, and expects the target's greeting on each. */
async function converse({ bastion, target }: Lab, count: number): Promise<Channel[]> {
  const one = async (): Promise<Channel> => {
    const sink = new TextSink();
    const { channel } = await open(bastion, target.endpoint, new ManualSource(), sink);
    await sink.until(({ text }) => text === 'hello');
    return channel;
  };
  return Promise.all(Array.from({ length: count }, one));
}

const logins = ({ sshd }: Lab): number => sshd.log().match(/Accepted publickey/g)?.length ?? 0;

test('200 channels at once through a server with 64 file descriptors a connection', async (t) => {
  const it = await lab(t, { descriptors: DESCRIPTORS });
  const channels = await converse(it, 200);
  assert.equal(it.bastion.size, 200);
  assert.equal(logins(it), 4);
  for (const channel of channels) channel.abort();
  await waitFor('the end of the channels', () => it.bastion.size === 0);
  await converse(it, 50);
});

test('when there is no further connection to be had, opens wait for room', async (t) => {
  const it = await lab(t, { descriptors: DESCRIPTORS }, { maxConnections: 2, connectHoldMs: 60_000 });
  const first = await converse(it, 100);
  const waiting = converse(it, 60);
  await waitFor('the limit', () => it.log.lines.some((line) => line.includes('taken for its limit')));
  for (const channel of first) channel.abort();
  await waiting;
  assert.equal(logins(it), 2);
});

test('an unreachable target is not taken for the limit twice', async (t) => {
  const it = await lab(t, {});
  await converse(it, 40);
  // sshd cannot even begin: no route leads there, as file descriptors are lacking for the other tests.
  const nowhere = { address: '255.255.255.255', port: 9 };
  assert.equal((await failureOf(it.bastion, nowhere)).reason, 'network-unreachable');
  assert.equal(logins(it), 2);
  assert.equal((await failureOf(it.bastion, nowhere)).reason, 'network-unreachable');
  await converse(it, 100);
  assert.equal(it.bastion.connections, 2);
  assert.equal(logins(it), 2);
});

test('a new connection is made before the first has too many channels, and one that is lost takes no dial with it', async (t) => {
  const it = await lab(t, {});
  const most = POOL_CHANNELS_MAX;
  await converse(it, most - 10);
  await waitFor('the second connection', () => it.bastion.connections === 2);
  await converse(it, 50);
  assert.equal(logins(it), 2);
  assert.equal(it.bastion.size, most + 40);
  it.sshd.dropConnections();
  await waitFor('the loss', () => it.bastion.size === 0);
  await converse(it, 1);
});
