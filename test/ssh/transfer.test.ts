import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Bastion } from '../../src/ssh/bastion.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import {
  arrived,
  MIB,
  ManualSource,
  PatternSink,
  PatternSource,
  TextSink,
  connected,
  listen,
  open,
  patternServer,
  release,
} from './harness.ts';
import type { PatternCheck } from './harness.ts';

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

test('64 MiB go both ways at once on four channels, byte-exact', async () => {
  const total = 64 * MIB;
  const checks: PatternCheck[] = [];
  const target = await listen(patternServer(total, checks));
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      const sink = new PatternSink();
      const { ended } = await open(bastion, target.endpoint, new PatternSource(total), sink);
      assert.equal(await ended, 'finished');
      assert.equal(sink.check.wrongAt, undefined);
      assert.equal(sink.check.bytes, total);
    }),
  );
  await arrived(checks, total);
  await target.close();
});

test('after our half-close the target still sends', async () => {
  const target = await listen((socket) => {
    let got = '';
    socket.on('data', (chunk) => (got += chunk));
    socket.on('end', () => socket.end(`got ${got}`));
  });
  const source = new ManualSource();
  source.push('question');
  source.end();
  const sink = new TextSink();
  const { ended } = await open(bastion, target.endpoint, source, sink);
  assert.equal(await ended, 'finished');
  assert.equal(sink.text, 'got question');
  assert.equal(sink.ended, true);
  await target.close();
});

test("after the target's half-close we still send", async () => {
  let got = '';
  const target = await listen((socket) => {
    socket.end('hello');
    socket.on('data', (chunk) => (got += chunk));
  });
  const source = new ManualSource();
  const sink = new TextSink();
  const { channel, ended } = await open(bastion, target.endpoint, source, sink);
  await sink.until((sink) => sink.ended);
  assert.equal(sink.text, 'hello');
  source.push('late answer');
  channel.sourceReady();
  source.end();
  channel.sourceReady();
  assert.equal(await ended, 'finished');
  while (target.sockets.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(got, 'late answer');
  await target.close();
});
