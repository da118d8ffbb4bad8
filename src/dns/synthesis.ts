/** Answers that we make ourselves. */
import { addressBytes } from '../core/cidr.ts';
import { DNS_FAKE_TTL_S } from '../core/limits.ts';
import type { FakeAddresses } from './fake.ts';
import { HEADER_BYTES } from './message.ts';
import { TYPE } from './question.ts';
import type { Question } from './question.ts';

/** Seconds. */
const LOCALHOST_TTL_S = 3600;
const LOCALHOST4 = Uint8Array.of(127, 0, 0, 1);
const LOCALHOST6 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
/** A pointer to the name of the question (RFC 1035, 4.1.4). */
const POINTER = 0xc000 | HEADER_BYTES;
const RECORD_BYTES = 12;

/** An answer with records of one type, each with its data; none means that there are none of that type. */
export function answerWith(
  { wire }: Question,
  questionsEnd: number,
  type: number,
  ttlS: number,
  data: readonly Uint8Array[],
): Uint8Array {
  const length = data.reduce((sum, each) => sum + RECORD_BYTES + each.length, questionsEnd);
  const answer = new Uint8Array(length);
  answer.set(wire.subarray(0, questionsEnd));
  answer.fill(0, 6, HEADER_BYTES);
  const view = new DataView(answer.buffer);
  answer[2] = 0x81;
  answer[3] = 0x80;
  view.setUint16(6, data.length);
  let at = questionsEnd;
  for (const each of data) {
    view.setUint16(at, POINTER);
    view.setUint16(at + 2, type);
    view.setUint16(at + 4, 1);
    view.setUint32(at + 6, ttlS);
    view.setUint16(at + 10, each.length);
    answer.set(each, at + RECORD_BYTES);
    at += RECORD_BYTES + each.length;
  }
  return answer;
}

/** localhost and all below it are this host (RFC 6761, 6.3). */
export function localhost(question: Question, questionsEnd: number): Uint8Array {
  const { type } = question;
  const data = type === TYPE.a ? [LOCALHOST4] : type === TYPE.aaaa ? [LOCALHOST6] : [];
  return answerWith(question, questionsEnd, type, LOCALHOST_TTL_S, data);
}

/** An address that stands for the name; of other types there is nothing. Undefined when none is free. */
export function fake(question: Question, questionsEnd: number, fakes: FakeAddresses): Uint8Array | undefined {
  const { type, name } = question;
  const family = type === TYPE.a ? 4 : type === TYPE.aaaa ? 6 : undefined;
  if (family === undefined) return answerWith(question, questionsEnd, type, DNS_FAKE_TTL_S, []);
  const addresses = fakes.addressesOf(name);
  if (addresses === undefined) return undefined;
  return answerWith(question, questionsEnd, type, DNS_FAKE_TTL_S, [addressBytes(addresses[family], family)]);
}
