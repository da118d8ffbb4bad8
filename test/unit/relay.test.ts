/** The frames of the UDP relay, on both sides; and the clocks and queues between them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { addressBytes } from '../../src/core/cidr.ts';
import {
  RELAY_DELAY_PERIOD_MS,
  RELAY_GREETING_BYTES,
  RELAY_QUEUE_BYTES,
  RELAY_SILENCE_MS,
} from '../../src/core/limits.ts';
import { Delay } from '../../src/relay/delay.ts';
import { FrameReader, MAGIC, writeClose, writeData, writeOpen, writeTime } from '../../src/relay/frames.ts';
import type { FrameEvents } from '../../src/relay/frames.ts';
import type { RelayFlow } from '../../src/relay/flow.ts';
import { INTERPRETERS, program } from '../../src/relay/program.ts';
import { DatagramQueue } from '../../src/relay/queue.ts';

const HELLO = Buffer.from([0, 5, 0x48, 1, 4, 0, 3]);

/** Tells what it hears, as text. */
class Heard implements FrameEvents {
  readonly all: string[] = [];
  hello({ flows, can }: { flows: number; can: number }): void {
    this.all.push(`hello ${flows} ${can}`);
  }
  data(flow: number, payload: Buffer): void {
    this.all.push(`data ${flow} ${payload.toString('hex')}`);
  }
  error(flow: number, code: number, mtu: number): void {
    this.all.push(`error ${flow} ${code} ${mtu}`);
  }
  time(ms: number, dropped: number): void {
    this.all.push(`time ${ms} ${dropped}`);
  }
}

function frame(...bytes: number[]): Buffer {
  return Buffer.from([bytes.length >> 8, bytes.length & 255, ...bytes]);
}

const data = fc.tuple(fc.nat({ max: 2 ** 32 - 1 }), fc.uint8Array({ maxLength: 300 }));

test('frames in chunks of any size are read whole, after anything that a shell printed', () => {
  const printed = fc.string({ maxLength: 200 }).filter((text) => !text.includes('\0'));
  fc.assert(
    fc.property(printed, fc.array(data), fc.array(fc.integer({ min: 1, max: 50 })), (text, frames, cuts) => {
      const parts = [Buffer.from(text), MAGIC, HELLO];
      const expected = ['hello 1024 3'];
      for (const [flow, payload] of frames) {
        const head = Buffer.alloc(4);
        head.writeUInt32BE(flow);
        parts.push(frame(0x44, ...head, ...payload));
        expected.push(`data ${flow} ${Buffer.from(payload).toString('hex')}`);
      }
      parts.push(frame(0x45, 0, 0, 0, 9, 5, 5, 0x78), frame(0x54, 0, 0, 1, 0, 0, 0, 0, 7));
      expected.push('error 9 5 1400', 'time 256 7');
      const all = Buffer.concat(parts);
      const heard = new Heard();
      const reader = new FrameReader(heard);
      for (let at = 0, turn = 0; at < all.length; turn++) {
        const next = at + (cuts[turn % Math.max(1, cuts.length)] ?? all.length);
        // The memory is used again after each read.
        const chunk = Buffer.from(all.subarray(at, next));
        assert.equal(reader.read(chunk), true);
        chunk.fill(0xee);
        at = next;
      }
      assert.deepEqual(heard.all, expected);
    }),
  );
});

test('garbage is refused or waits, and never throws', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 400 })), fc.boolean(), (chunks, greeted) => {
      const reader = new FrameReader(new Heard());
      let right = !greeted || reader.read(Buffer.concat([MAGIC, HELLO]));
      for (const chunk of chunks) right &&= reader.read(chunk);
    }),
  );
  const reader = new FrameReader(new Heard());
  assert.equal(reader.read(Buffer.alloc(RELAY_GREETING_BYTES + 1, 'x')), false, 'a shell that never ends');
  const other = new FrameReader(new Heard());
  assert.equal(other.read(Buffer.concat([MAGIC, Buffer.from([0, 5, 0x48, 2, 4, 0, 3])])), false, 'a version');
});

/** Runs the program on `input`, and gives how it ended. */
async function feed(
  interpreter: (typeof INTERPRETERS)[number],
  input: Uint8Array,
): Promise<{ code: number | null; out: Buffer; errors: string }> {
  const { command, source } = program(interpreter);
  const child = spawn('/bin/sh', ['-c', command], { env: { PATH: '/usr/bin:/bin' } });
  const out: Buffer[] = [];
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  child.stdin.on('error', () => {});
  child.stdin.write(source);
  // As netproxy does: the interpreter may have read more than the program.
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out: Buffer.concat(out), errors };
}

for (const interpreter of INTERPRETERS) {
  test(`the program for ${interpreter} ends on garbage, and says nothing of it`, async () => {
    const number = fc.uint8Array({ minLength: 4, maxLength: 4 });
    // Frames that are nearly right get further than noise.
    const near = fc
      .tuple(fc.constantFrom(...Buffer.from('ODCTEHx')), number, fc.uint8Array({ maxLength: 30 }))
      .map(([type, flow, rest]) => frame(type, ...flow, ...rest));
    const input = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(near, { maxLength: 8 }).map((frames) => Buffer.concat(frames)),
    );
    await fc.assert(
      fc.asyncProperty(input, async (bytes) => {
        const { code, errors } = await feed(interpreter, bytes);
        assert.ok(code === 0 || code === 65, `exit ${code}`);
        assert.equal(errors, '');
      }),
      { numRuns: 25 },
    );
  });

  test(`the program for ${interpreter} ends by itself when it hears nothing`, async () => {
    const { command, source } = program(interpreter);
    const silence = String(RELAY_SILENCE_MS / 1000);
    // A second, in as many characters.
    const hasty = source.toString().replace(` ${silence},`, ` ${'1'.padStart(silence.length)},`);
    const child = spawn('/bin/sh', ['-c', command], { env: { PATH: '/usr/bin:/bin' } });
    child.stdout.resume();
    child.stdin.write(hasty);
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    assert.equal(code, 0);
  });

  test(`the program for ${interpreter} takes what is written here`, async () => {
    const out = Buffer.alloc(1000);
    let at = writeTime(out, 0, 2 ** 32 + 5);
    at = writeOpen(out, at, 1, 4, 9, addressBytes('127.0.0.1', 4));
    at = writeOpen(out, at, 2, 6, 9, addressBytes('::1', 6));
    at = writeData(out, at, 3, 1, Buffer.from('to nobody'));
    at = writeClose(out, at, 1);
    const { code, out: said } = await feed(interpreter, out.subarray(0, at));
    assert.equal(code, 0);
    const heard = new Heard();
    assert.equal(new FrameReader(heard).read(said), true);
    assert.match(heard.all[0]!, /^hello \d+ \d+$/);
  });
}

test('what waited is told from what only came by a longer way, though clocks drift', () => {
  const delay = new Delay();
  assert.equal(delay.of(4_000_000_000, 1000), 0);
  assert.equal(delay.of(4_000_000_010, 1110), 100);
  assert.equal(delay.of(4_000_000_200, 1190), 0, 'a shorter way than any before');
  // The other clock loses 100 ms in each period.
  let now = 1190;
  let sent = 4_000_000_200;
  for (let period = 0; period < 50; period++) {
    for (let step = 0; step < 10; step++) {
      now += RELAY_DELAY_PERIOD_MS / 10 + 10;
      sent += RELAY_DELAY_PERIOD_MS / 10;
      assert.ok(delay.of(sent % 2 ** 32, now) <= 220);
    }
  }
});

test('a queue keeps its bound, and drops the oldest', () => {
  const queue = new DatagramQueue();
  const flow = {} as RelayFlow;
  let dropped = 0;
  for (let index = 0; index < 3000; index++) {
    dropped += queue.push({ flow, flags: index, payload: Buffer.alloc(1024), until: 0 });
  }
  assert.equal(queue.size, RELAY_QUEUE_BYTES / 1024);
  assert.equal(dropped, 3000 - queue.size);
  assert.equal(queue.shift()?.flags, dropped);
});
