/** What a message asks, read by a library, and the query that we make of it. */
import { decode } from 'dns-packet';

import { HEADER_BYTES, type Message } from './message.ts';

/** Types and the class that are looked at (RFC 1035, 3.2). */
export const TYPE = { a: 1, ptr: 12, aaaa: 28, axfr: 252, ixfr: 251 } as const;
export const CLASS_IN = 1;

const FLAG_RD = 0x01;
const FLAG_AD = 0x20;
const FLAG_CD = 0x10;
/** Bytes that we take in an answer; by TCP it means nothing, but a value is wanted. */
const OPT_WITH_DO = [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0];

export interface Question {
  /** Lower case, without the closing dot; the root is `.`. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Two questions with the same key have the same answer. */
  readonly key: string;
  /** The query to ask a resolver by: id 0, recursion desired, lower case, OPT only to ask for DNSSEC records. */
  readonly wire: Uint8Array;
}

/** The one question of a query; undefined when it has none, several, or one that is not well made. */
export function readQuestion(query: Uint8Array, message: Message): Question | undefined {
  const { questionsEnd, opt } = message;
  if (query[4] !== 0 || query[5] !== 1) return undefined;
  const dnssec = opt !== undefined && ((opt[7] ?? 0) & 0x80) !== 0;
  const length = questionsEnd + (dnssec ? OPT_WITH_DO.length : 0);
  const wire = new Uint8Array(length);
  wire.set(query.subarray(HEADER_BYTES, questionsEnd), HEADER_BYTES);
  for (let at = HEADER_BYTES; at < questionsEnd - 4;) {
    const label = wire[at] ?? 0;
    // A first name has nothing before it that a pointer could lead to.
    if (label > 63) return undefined;
    for (let i = at + 1; i <= at + label; i++) wire[i] = lower(wire[i] ?? 0);
    at += label + 1;
  }
  wire[2] = FLAG_RD;
  wire[3] = (query[3] ?? 0) & (FLAG_AD | FLAG_CD);
  wire[5] = 1;
  if (dnssec) {
    wire.set(OPT_WITH_DO, questionsEnd);
    wire[11] = 1;
  }
  const view = new DataView(wire.buffer);
  const name = nameOf(wire.subarray(0, questionsEnd));
  if (name === undefined) return undefined;
  return {
    name,
    type: view.getUint16(questionsEnd - 4),
    class: view.getUint16(questionsEnd - 2),
    key: Buffer.from(wire.buffer, 2).toString('latin1'),
    wire,
  };
}

/** The same question for another type, with the same key but for the type. */
export function withType(question: Question, questionsEnd: number, type: number): Question {
  const wire = Uint8Array.from(question.wire);
  new DataView(wire.buffer).setUint16(questionsEnd - 4, type);
  return { ...question, type, wire, key: Buffer.from(wire.buffer, 2).toString('latin1') };
}

/** A query for the records of one type. */
export function makeQuery(name: string, type: number): Uint8Array {
  const labels = name === '.' ? [] : name.split('.').map((label) => Buffer.from(label, 'latin1'));
  const parts = labels.flatMap((label) => [Buffer.of(label.length), label]);
  const header = Buffer.of(0, 0, FLAG_RD, 0, 0, 1, 0, 0, 0, 0, 0, 0);
  return Buffer.concat([header, ...parts, Buffer.of(0, type >> 8, type & 0xff, 0, CLASS_IN)]);
}

/** Whether `answer` is one to the question of `query`. */
export function answers(answer: Uint8Array, query: Uint8Array, questionsEnd: number): boolean {
  if (answer.length < questionsEnd || ((answer[2] ?? 0) & 0x80) === 0) return false;
  for (let at = HEADER_BYTES; at < questionsEnd; at++) {
    if (lower(answer[at] ?? 0) !== lower(query[at] ?? 0)) return false;
  }
  return answer[4] === 0 && answer[5] === 1;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

function nameOf(question: Uint8Array): string | undefined {
  const header = Uint8Array.from(question);
  header.fill(0, 6, HEADER_BYTES);
  try {
    const name = decode(Buffer.from(header.buffer)).questions?.[0]?.name;
    return name === '' ? '.' : name?.toLowerCase();
  } catch {
    return undefined;
  }
}
