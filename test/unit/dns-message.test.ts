/** The DNS messages that the relay reads, cuts and makes, and their framing over TCP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MessageSink, MessageSource } from '../../src/dns/framing.ts';
import { answerSize, failure, fit, parse } from '../../src/dns/message.ts';

const QUESTION = [1, 0x61, 2, 0x62, 0x63, 0, 0, 1, 0, 1];
const OPT = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];
const query = (opt: boolean): Uint8Array =>
  Uint8Array.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, opt ? 1 : 0, ...QUESTION, ...(opt ? OPT : [])]);

test('the size of an answer is 512 bytes, or what OPT says', () => {
  assert.equal(answerSize(parse(query(false))!), 512);
  assert.equal(answerSize(parse(query(true))!), 1232);
});

test('an answer that is too long keeps its questions and OPT, and says so', () => {
  const long = new Uint8Array(600);
  long.set(query(true));
  long.set([0, 0, 16, 0, 1, 0, 0, 0, 0, (600 - 33 - 11 - 0) >> 8, (600 - 33 - 11) & 0xff], 33);
  long[11] = 2;
  const short = fit(long, 512)!;
  assert.equal(short.length, 33);
  assert.equal((short[2] ?? 0) & 2, 2);
  assert.equal((short[3] ?? 0) & 0x80, 0x80);
  assert.notEqual(parse(short)?.opt, undefined);
  assert.equal(fit(long, 600), long);
});

test('of an answer that is too long as many records are left as fit, and no half ones', () => {
  const address = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
  for (const opt of [false, true]) {
    const head = query(false);
    head[7] = 40;
    // Of the authority, which is left out.
    head[9] = 1;
    head[11] = opt ? 1 : 0;
    const records = Array.from({ length: 41 }, () => address).flat();
    const long = Uint8Array.from([...head, ...records, ...(opt ? OPT : [])]);
    const short = fit(long, 512)!;
    const left = opt ? 29 : 30;
    assert.equal(short.length, head.length + left * address.length + (opt ? OPT.length : 0));
    assert.deepEqual([...short.subarray(6, 12)], [0, left, 0, 0, 0, opt ? 1 : 0]);
    const parsed = parse(short)!;
    assert.deepEqual([parsed.records.length, parsed.opt !== undefined], [left, opt]);
    assert.equal(short[2]! & 2, 2);
  }
});

test('SERVFAIL has the id, the question and an OPT of its own', () => {
  for (const opt of [false, true]) {
    const question = query(opt);
    const answer = failure(question, parse(question)!);
    assert.deepEqual([...answer.subarray(0, 4)], [0x12, 0x34, 0x81, 0x82]);
    assert.equal(parse(answer)?.opt !== undefined, opt);
    assert.equal(answer.length, question.length);
  }
});

test('any bytes are either no message or one that can be cut and refused', () => {
  const header = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => bytes.map((b) => b & 3));
  const bytes = fc.tuple(header, fc.uint8Array({ maxLength: 700 }));
  fc.assert(
    fc.property(bytes, fc.integer({ min: 512, max: 4096 }), ([head, tail], size) => {
      const message = Uint8Array.from([...head, ...tail]);
      const parsed = parse(message);
      const cut = fit(message, size);
      if (cut !== undefined) {
        assert.ok(cut.length <= size);
        assert.ok(cut === message || parse(cut) !== undefined);
      }
      if (parsed === undefined) return;
      assert.ok(parsed.questionsEnd <= message.length);
      assert.ok(parse(failure(message, parsed)) !== undefined);
    }),
    { numRuns: 2000 },
  );
});

test('messages come through framing whole, however the bytes are cut', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  fc.assert(
    fc.property(messages, fc.integer({ min: 1, max: 400 }), (sent, step) => {
      const source = new MessageSource();
      for (const message of sent) source.push(message);
      const got: number[][] = [];
      const sink = new MessageSink(
        (message) => got.push([...message]),
        () => {},
      );
      for (let chunk = source.take(step); chunk !== undefined; chunk = source.take(step)) {
        sink.write(chunk);
        source.taken(chunk.length);
      }
      assert.deepEqual(
        got,
        sent.map((message) => [...message]),
      );
    }),
  );
});
