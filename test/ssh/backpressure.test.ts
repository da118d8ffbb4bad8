import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  FLOW_SEND_HIGH_WATER_BYTES,
  SSH_CHANNEL_WINDOW_INITIAL_BYTES,
  SSH_CHANNEL_WINDOW_MAX_BYTES,
} from '../../src/core/limits.ts';
import type { Bastion } from '../../src/ssh/bastion.ts';
import { ReceiveWindow } from '../../src/ssh/window.ts';
import { waitFor } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import {
  MIB,
  ManualSource,
  PatternSink,
  PatternSource,
  SlowSink,
  TextSink,
  connected,
  listen,
  open,
  patternServer,
  release,
} from './harness.ts';

let sshd: Sshd;
let bastion: Bastion;

before(async () => {
  sshd = await startSshd();
  bastion = await connected(sshd);
});

after(async () => {
  await release();
  await sshd.stop();
});

test('a reader that stops bounds what is queued, and holds up no other channel', async () => {
  const total = 64 * MIB;
  const target = await listen(patternServer(total, []));
  const echo = await listen((socket) => socket.pipe(socket));
  const slow = new SlowSink();
  const source = new ManualSource();
  source.end();
  const { channel, ended } = await open(bastion, target.endpoint, source, slow);
  await waitFor('what may be queued', () => slow.queued > FLOW_SEND_HIGH_WATER_BYTES);
  let before = -1;
  while (before !== slow.total) {
    before = slow.total;
    await sleep(100);
  }
  assert.ok(
    slow.queued <= FLOW_SEND_HIGH_WATER_BYTES + SSH_CHANNEL_WINDOW_INITIAL_BYTES,
    `${slow.queued} queued`,
  );

  const other = new PatternSink();
  const { ended: echoed } = await open(bastion, echo.endpoint, new PatternSource(4 * MIB), other);
  assert.equal(await echoed, 'finished');
  assert.deepEqual([other.check.bytes, other.check.wrongAt], [4 * MIB, undefined]);

  while (!slow.ended) {
    if (slow.read()) channel.sinkDrained();
    await sleep(1);
  }
  assert.equal(await ended, 'finished');
  assert.equal(slow.total, total);
  assert.ok(slow.most <= FLOW_SEND_HIGH_WATER_BYTES + SSH_CHANNEL_WINDOW_MAX_BYTES, `${slow.most} queued`);
  await target.close();
  await echo.close();
});

test('a target that does not read stops its own source and no other', async () => {
  const deaf = await listen((socket) => socket.pause());
  const echo = await listen((socket) => socket.pipe(socket));
  const source = new PatternSource(512 * MIB);
  const { channel, ended } = await open(bastion, deaf.endpoint, source, new TextSink());
  await waitFor('the first bytes', () => source.given > 0);
  let before = -1;
  while (before !== source.given) {
    before = source.given;
    await sleep(100);
  }
  assert.ok(source.given < 64 * MIB, `${source.given} taken`);
  const other = new PatternSink();
  const { ended: echoed } = await open(bastion, echo.endpoint, new PatternSource(4 * MIB), other);
  assert.equal(await echoed, 'finished');
  assert.equal(other.check.wrongAt, undefined);
  channel.abort();
  assert.equal(await ended, 'aborted');
  await deaf.close();
  await echo.close();
});

test('a source that has bytes now and then loses no wake-up', async () => {
  const echo = await listen((socket) => socket.pipe(socket));
  const source = new ManualSource();
  const sink = new TextSink();
  const { channel, ended } = await open(bastion, echo.endpoint, source, sink);
  let sent = '';
  for (let i = 0; i < 300; i++) {
    source.push(`${i} `);
    sent += `${i} `;
    channel.sourceReady();
    if (i % 3 === 0) await sink.until((sink) => sink.text === sent);
    if (i % 50 === 0) await sleep(20);
  }
  source.end();
  channel.sourceReady();
  assert.equal(await ended, 'finished');
  assert.equal(sink.text, sent);
  await echo.close();
});

test('twenty uploads share the connection fairly', async () => {
  const done: number[] = [];
  const target = await listen((socket) => {
    socket.on('end', () => socket.end());
    socket.resume();
  });
  const sources = Array.from({ length: 20 }, () => new PatternSource(8 * MIB));
  await Promise.all(
    sources.map(async (source) => {
      const { ended } = await open(bastion, target.endpoint, source, new TextSink());
      await ended;
      done.push(Math.min(...sources.map((one) => one.given)));
    }),
  );
  // When the first has finished, the slowest is not far behind.
  assert.ok(done[0]! > 4 * MIB, `slowest had ${done[0]} of ${8 * MIB} bytes`);
  await target.close();
});

test('a window grows only while it is filled by a reader that keeps up', () => {
  const window = new ReceiveWindow();
  assert.equal(window.topUp(), 0);
  let invited = SSH_CHANNEL_WINDOW_INITIAL_BYTES;
  let adjustments = 0;
  let packets = 0;
  for (let got = 0; got < 64 * MIB; got += 32_768) {
    assert.equal(window.use(32_768), true);
    invited -= 32_768;
    packets++;
    const more = window.topUp();
    if (more > 0) adjustments++;
    invited += more;
    assert.ok(invited >= 0 && invited <= SSH_CHANNEL_WINDOW_MAX_BYTES);
  }
  assert.ok(invited > SSH_CHANNEL_WINDOW_MAX_BYTES * 0.9);
  assert.ok(adjustments < packets / 10, `${adjustments} adjustments for ${packets} packets`);
  window.lag();
  assert.equal(window.topUp(), 0);
  assert.equal(window.use(invited), true);
  assert.equal(window.use(1), false);
});
