/**
 * As much of a DNS message (RFC 1035) as a relay needs: the header, where the questions end, and the OPT
 * record (RFC 6891). Names are skipped, never read, so that no compression pointer is followed.
 */
export const HEADER_BYTES = 12;

/** Bytes. Largest answer over UDP for a client that does not say more (RFC 1035, 4.2.1). */
const UDP_BYTES = 512;
const TYPE_OPT = 41;
const OPT_BYTES = 11;
const SERVER_FAILURE = 2;

export interface Message {
  /** Offset of what follows the questions. */
  readonly questionsEnd: number;
  /** The OPT record, when there is one. */
  readonly opt: Uint8Array | undefined;
}

const get16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

export function idOf(message: Uint8Array): number {
  return get16(message, 0);
}

export function setId(message: Uint8Array, id: number): void {
  message[0] = id >> 8;
  message[1] = id & 0xff;
}

export function isQuery(message: Uint8Array): boolean {
  return message.length >= HEADER_BYTES && ((message[2] ?? 0) & 0x80) === 0;
}

/** Offset of what follows the name at `at`, undefined when it runs out of the message. */
function skipName(message: Uint8Array, at: number): number | undefined {
  for (let place = at; place < message.length;) {
    const length = message[place] ?? 0;
    if (length === 0) return place + 1;
    if (length >= 0xc0) return place + 2;
    if (length > 63) return undefined;
    place += 1 + length;
  }
  return undefined;
}

/** Undefined when the bytes are no message. */
export function parse(message: Uint8Array): Message | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  let at = HEADER_BYTES;
  for (let left = get16(message, 4); left > 0; left--) {
    const end = skipName(message, at);
    if (end === undefined || end + 4 > message.length) return undefined;
    at = end + 4;
  }
  const questionsEnd = at;
  let opt: Uint8Array | undefined;
  for (let left = get16(message, 6) + get16(message, 8) + get16(message, 10); left > 0; left--) {
    const end = skipName(message, at);
    if (end === undefined || end + 10 > message.length) return undefined;
    const next = end + 10 + get16(message, end + 8);
    if (next > message.length) return undefined;
    if (get16(message, end) === TYPE_OPT && end === at + 1) opt = message.subarray(at, next);
    at = next;
  }
  return { questionsEnd, opt };
}

/** Bytes that the sender of `query` takes in one datagram. */
export function answerSize(query: Message): number {
  return query.opt === undefined ? UDP_BYTES : Math.max(UDP_BYTES, get16(query.opt, 3));
}

function bare(message: Uint8Array, end: number, opt: Uint8Array | undefined): Uint8Array {
  const short = new Uint8Array(end + (opt?.length ?? 0));
  short.set(message.subarray(0, end));
  short.fill(0, 6, HEADER_BYTES);
  if (opt !== undefined) {
    short.set(opt, end);
    short[11] = 1;
  }
  return short;
}

/** The answer as it is when it fits, or else its questions alone with TC set: the client asks by TCP. */
export function fit(answer: Uint8Array, size: number): Uint8Array | undefined {
  if (answer.length <= size) return answer;
  const message = parse(answer);
  if (message === undefined) return undefined;
  const { questionsEnd, opt } = message;
  const whole = bare(answer, questionsEnd, opt);
  const short = whole.length <= size ? whole : bare(answer, HEADER_BYTES, undefined);
  if (short.length === HEADER_BYTES) short.fill(0, 4, 6);
  short[2] = (short[2] ?? 0) | 0x02;
  short[3] = (short[3] ?? 0) | 0x80;
  return short;
}

/** SERVFAIL to `query`, as of a resolver that does recursion. */
export function failure(query: Uint8Array, { questionsEnd, opt }: Message): Uint8Array {
  // A query with OPT is answered with OPT (RFC 6891, 7), here one without options.
  const own =
    opt === undefined ? undefined : Uint8Array.from(opt.subarray(0, OPT_BYTES)).fill(0, 5, OPT_BYTES);
  const answer = bare(query, questionsEnd, own);
  answer[2] = ((answer[2] ?? 0) & 0x79) | 0x80;
  answer[3] = 0x80 | SERVER_FAILURE;
  return answer;
}
