/**
 * ssh2 parses packets in place, in a receive buffer that the next read overwrites. These tests make
 * every packet fall apart over reads, at ever other places, for each kind of decipher, and rekey
 * meanwhile: a byte of ssh2's that is not copied in time shows as a wrong byte or a failed tag.
 */
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, test } from 'node:test';
import type { SocketFactory } from '../../src/ssh/transport.ts';
import { startSshd } from '../lab/sshd.ts';
import {
  arrived,
  MIB,
  PatternSink,
  PatternSource,
  connected,
  listen,
  open,
  patternServer,
  release,
} from './harness.ts';
import type { PatternCheck } from './harness.ts';

after(release);

/** A socket that reads at most `bytes` at a time. */
function readingAtMost(bytes: number): SocketFactory {
  return ({ address, port }, onread) =>
    net.connect({
      host: address,
      port,
      onread: { ...onread, buffer: (onread.buffer as Buffer).subarray(0, bytes) },
    });
}

const CIPHERS: readonly (readonly [string, readonly string[]])[] = [
  ['aes128-gcm@openssh.com', []],
  ['aes256-gcm@openssh.com', []],
  ['chacha20-poly1305@openssh.com', []],
  ['aes128-ctr, MAC after encryption', ['Ciphers aes128-ctr', 'MACs hmac-sha2-256-etm@openssh.com']],
  ['aes256-ctr, MAC before encryption', ['Ciphers aes256-ctr', 'MACs hmac-sha2-512']],
];

for (const [name, lines] of CIPHERS) {
  test(`packets split over reads are byte-exact: ${name}`, async () => {
    const sshd = await startSshd({ config: lines.length > 0 ? lines : [`Ciphers ${name}`] });
    for (const [bytes, total] of [
      [17, 1 * MIB],
      [1009, 8 * MIB],
      [32_797, 16 * MIB],
      [65_551, 16 * MIB],
    ] as const) {
      const checks: PatternCheck[] = [];
      const target = await listen(patternServer(total, checks));
      const bastion = await connected(sshd, { socketFactory: readingAtMost(bytes) });
      const sink = new PatternSink();
      const { ended } = await open(bastion, target.endpoint, new PatternSource(total), sink);
      assert.equal(await ended, 'finished', `reads of ${bytes}`);
      assert.deepEqual([sink.check.bytes, sink.check.wrongAt], [total, undefined], `reads of ${bytes}`);
      await arrived(checks, total);
      await bastion.stop();
      await target.close();
    }
    await sshd.stop();
  });
}

for (const bytes of [997, 65_551, 256 * 1024]) {
  test(`rekeying under load is byte-exact both ways, reads of ${bytes}`, async () => {
    const sshd = await startSshd({ config: ['RekeyLimit 1M', 'LogLevel DEBUG1'] });
    const total = 24 * MIB;
    const checks: PatternCheck[] = [];
    const target = await listen(patternServer(total, checks));
    const bastion = await connected(sshd, { socketFactory: readingAtMost(bytes) });
    await Promise.all(
      [1, 2, 3].map(async () => {
        const sink = new PatternSink();
        const { ended } = await open(bastion, target.endpoint, new PatternSource(total), sink);
        assert.equal(await ended, 'finished');
        assert.deepEqual([sink.check.bytes, sink.check.wrongAt], [total, undefined]);
      }),
    );
    await arrived(checks, total);
    const exchanges = sshd.log().match(/SSH2_MSG_NEWKEYS received/g)?.length ?? 0;
    assert.ok(exchanges > 20, `${exchanges} key exchanges`);
    await bastion.stop();
    await target.close();
    await sshd.stop();
  });
}
