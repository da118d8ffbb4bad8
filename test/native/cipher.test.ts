/** Packet protection of our own against oracles made of Node's ciphers, and against damage. */
import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { test } from 'node:test';

import * as fc from 'fast-check';

import { loadNative } from '../../src/core/native.ts';

const native = loadNative();
const MORE = 0;
const PAYLOAD = 1;
const BAD_LENGTH = 2;
const BAD_TAG = 3;

const algorithm = (key: Buffer): 'aes-128-gcm' | 'aes-256-gcm' =>
  key.length === 16 ? 'aes-128-gcm' : 'aes-256-gcm';

/** RFC 5647, 7.1: the last eight bytes of the IV count packets. */
function ivOf(iv: Buffer, count: number): Buffer {
  const copy = Buffer.from(iv);
  copy.writeBigUInt64BE(BigInt.asUintN(64, copy.readBigUInt64BE(4) + BigInt(count)), 4);
  return copy;
}

/** Length field, padding length, payload, padding, room for the tag. */
function layOut(payload: Buffer): Buffer {
  let padding = 16 - ((payload.length + 1) % 16);
  if (padding < 4) padding += 16;
  const packet = Buffer.alloc(4 + 1 + payload.length + padding + 16);
  packet.writeUInt32BE(1 + payload.length + padding, 0);
  packet[4] = padding;
  packet.set(payload, 5);
  return packet;
}

/** RFC 8439 section 2.5.1, in integers of any size. */
function poly1305(key: Buffer, message: Buffer): Buffer {
  const little = (bytes: Uint8Array): bigint =>
    BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex')}`);
  const r = little(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  const prime = (1n << 130n) - 5n;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    sum = ((sum + little(Buffer.concat([message.subarray(at, at + 16), Buffer.from([1])]))) * r) % prime;
  }
  const tag = BigInt.asUintN(128, sum + little(key.subarray(16)));
  return Buffer.from(Buffer.from(tag.toString(16).padStart(32, '0'), 'hex').toReversed());
}

/** PROTOCOL.chacha20poly1305 of OpenSSH. */
function chacha(key: Buffer, counter: number, sequence: number, data: Buffer): Buffer {
  const iv = Buffer.alloc(16);
  iv[0] = counter;
  iv.writeUInt32BE(sequence, 12);
  return createCipheriv('chacha20', key, iv).update(data);
}

function protectByChaCha(key: Buffer, sequence: number, packet: Buffer): Buffer {
  const [content, length] = [key.subarray(0, 32), key.subarray(32)];
  const sent = Buffer.concat([
    chacha(length, 0, sequence, packet.subarray(0, 4)),
    chacha(content, 1, sequence, packet.subarray(4, -16)),
  ]);
  return Buffer.concat([sent, poly1305(chacha(content, 0, sequence, Buffer.alloc(32)), sent)]);
}

function protect(key: Buffer, iv: Buffer, payloads: Buffer[], sequence = 0): Buffer {
  return Buffer.concat(
    payloads.map((payload, count) => {
      const packet = layOut(payload);
      if (key.length === 64) return protectByChaCha(key, (sequence + count) >>> 0, packet);
      const cipher = createCipheriv(algorithm(key), key, ivOf(iv, count));
      cipher.setAAD(packet.subarray(0, 4));
      const body = cipher.update(packet.subarray(4, -16));
      cipher.final();
      return Buffer.concat([packet.subarray(0, 4), body, cipher.getAuthTag()]);
    }),
  );
}

const keys = fc
  .tuple(
    fc.constantFrom(16, 32, 64),
    fc.uint8Array({ minLength: 12, maxLength: 12 }),
    fc.constantFrom(0, 7, 0xffff_fffe),
  )
  .map(([length, iv, sequence]) => ({
    key: randomBytes(length),
    iv: Buffer.from(length === 64 ? [] : iv),
    sequence,
  }));
const payloads = fc.array(
  fc.integer({ min: 1, max: 4000 }).map((length) => randomBytes(length)),
  { minLength: 1, maxLength: 12 },
);

test('what is sealed opens with the oracle, counter by counter', () => {
  fc.assert(
    fc.property(keys, payloads, ({ key, iv, sequence }, list) => {
      const sealer = new native.PacketSealer(key, iv, sequence);
      for (const [count, payload] of list.entries()) {
        const packet = layOut(payload);
        const number = (sequence + count) >>> 0;
        assert.equal(sealer.sequence, number);
        assert.equal(sealer.seal(packet), true);
        if (key.length === 64) {
          assert.deepEqual(packet, protectByChaCha(key, number, layOut(payload)));
          continue;
        }
        const decipher = createDecipheriv(algorithm(key), key, ivOf(iv, count));
        decipher.setAAD(packet.subarray(0, 4));
        decipher.setAuthTag(packet.subarray(-16));
        const body = decipher.update(packet.subarray(4, -16));
        decipher.final();
        assert.deepEqual(body.subarray(1, 1 + payload.length), payload);
      }
    }),
    { numRuns: 50 },
  );
});

test('what the oracle protects opens, however the reads are cut', () => {
  fc.assert(
    fc.property(
      keys,
      payloads,
      fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }),
      ({ key, iv, sequence }, list, cuts) => {
        const stream = protect(key, iv, list, sequence);
        const opener = new native.PacketOpener(key, iv, sequence);
        const got: Buffer[] = [];
        for (let start = 0, i = 0; start < stream.length; i++) {
          const read = Buffer.from(stream.subarray(start, start + cuts[i % cuts.length]!));
          start += read.length;
          for (let at = 0; at < read.length;) {
            at = opener.open(read, at, read.length);
            const [status, outside, offset, length] = opener.result;
            if (status === MORE) break;
            assert.equal(status, PAYLOAD);
            got.push(
              outside === 1 ? opener.carried() : Buffer.from(read.subarray(offset, offset! + length!)),
            );
          }
        }
        assert.deepEqual(got, list);
        assert.equal(opener.sequence, (sequence + list.length) >>> 0);
      },
    ),
    { numRuns: 50 },
  );
});

test('a flipped bit anywhere is never taken for a packet', () => {
  fc.assert(
    fc.property(keys, fc.nat(), ({ key, iv }, at) => {
      const stream = protect(key, iv, [randomBytes(300)]);
      stream[at % stream.length]! ^= 1 << (at % 8);
      const opener = new native.PacketOpener(key, iv, 0);
      opener.open(stream, 0, stream.length);
      assert.ok([MORE, BAD_LENGTH, BAD_TAG].includes(opener.result[0]!));
    }),
  );
});

test('a length that no packet has is refused before anything is kept', () => {
  const opener = new native.PacketOpener(randomBytes(16), randomBytes(12), 0);
  for (const length of [0, 8, 17, 35_008, 0xffff_fff0]) {
    const data = Buffer.alloc(64);
    data.writeUInt32BE(length, 0);
    opener.open(data, 0, data.length);
    assert.equal(opener.result[0], BAD_LENGTH, `${length}`);
  }
});

test('arguments of the wrong type or range are refused by name', () => {
  const sealerOf = (key: number, iv: number, sequence = 0): object =>
    new native.PacketSealer(randomBytes(key), randomBytes(iv), sequence);
  assert.throws(() => sealerOf(15, 12), /key must be 16, 32 or 64 bytes/);
  assert.throws(() => sealerOf(16, 11), /iv must be 12 bytes/);
  assert.throws(() => sealerOf(64, 12), /iv must be empty/);
  assert.throws(() => sealerOf(64, 0, 'x' as never), /sequence/);
  const sealer = new native.PacketSealer(randomBytes(16), randomBytes(12), 0);
  assert.equal(sealer.seal(Buffer.alloc(10)), false);
  assert.throws(
    () => new native.SshLink({} as never, 1, 0, sealer, {} as never, () => {}),
    /engine must be an Engine/,
  );
  const opener = new native.PacketOpener(randomBytes(16), randomBytes(12), 0);
  assert.throws(() => opener.open(Buffer.alloc(4), 0, 5), /at and end must lie in data/);
});
