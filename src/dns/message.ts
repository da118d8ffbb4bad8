/**
 * Where the parts of a DNS message are (RFC 1035), for passing it on as it came: the header, the end of the
 * questions, the records and among them OPT (RFC 6891). Names are skipped here, never read, so that no
 * compression pointer is followed; what needs names is read in question.ts and answer.ts.
 */
export const HEADER_BYTES = 12;

/** Bytes. Largest answer over UDP for a client that does not say more (RFC 1035, 4.2.1). */
const UDP_BYTES = 512;
const TYPE_OPT = 41;
const OPT_BYTES = 11;
/** Bytes that we take in one datagram, for what it is worth: whoever asks us has no way to ask more. */
const OWN_UDP_BYTES = 1232;

/** Response codes (RFC 1035, 4.1.1; RFC 6891, 9). */
export const RCODE = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;

/** Offsets of a resource record's parts. */
export interface RecordPlace {
  readonly type: number;
  /** In the answer section. */
  readonly answers: boolean;
  readonly start: number;
  readonly ttlAt: number;
  readonly dataAt: number;
  readonly end: number;
}

export interface Message {
  /** Offset of what follows the questions. */
  readonly questionsEnd: number;
  /** The OPT record, when there is one. */
  readonly opt: Uint8Array | undefined;
  readonly optAt: number;
  /** All records but OPT. */
  readonly records: readonly RecordPlace[];
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
  let optAt = 0;
  const records: RecordPlace[] = [];
  const total = get16(message, 6) + get16(message, 8) + get16(message, 10);
  for (let nth = 0; nth < total; nth++) {
    const end = skipName(message, at);
    if (end === undefined || end + 10 > message.length) return undefined;
    const next = end + 10 + get16(message, end + 8);
    if (next > message.length) return undefined;
    const type = get16(message, end);
    if (type === TYPE_OPT && end === at + 1) {
      opt = message.subarray(at, next);
      optAt = at;
    } else {
      const answers = nth < get16(message, 6);
      records.push({ type, answers, start: at, ttlAt: end + 4, dataAt: end + 10, end: next });
    }
    at = next;
  }
  return { questionsEnd, opt, optAt, records };
}

/** Bytes that the sender of `query` takes in one datagram. */
export function answerSize(query: Message): number {
  return query.opt === undefined ? UDP_BYTES : Math.max(UDP_BYTES, get16(query.opt, 3));
}

/** The message up to `end`, of which so many answers are left, and OPT. */
function bare(message: Uint8Array, end: number, opt: Uint8Array | undefined, answers = 0): Uint8Array {
  const short = new Uint8Array(end + (opt?.length ?? 0));
  short.set(message.subarray(0, end));
  short.fill(0, 6, HEADER_BYTES);
  short.set([answers >> 8, answers & 0xff], 6);
  if (opt !== undefined) {
    short.set(opt, end);
    short[11] = 1;
  }
  return short;
}

/**
 * The answer as it is when it fits, or else as many of its answers as do, with TC set: the client asks by TCP. Those
 * are for clients that cannot (musl before 1.2.4) and make do with some addresses; others take none of them
 * (RFC 2181, 9).
 */
export function fit(answer: Uint8Array, size: number): Uint8Array | undefined {
  if (answer.length <= size) return answer;
  const message = parse(answer);
  if (message === undefined) return undefined;
  const { questionsEnd, opt, records } = message;
  const room = size - (opt?.length ?? 0);
  const over = records.findIndex((record) => !record.answers || record.end > room);
  const answers = over < 0 ? records.length : over;
  const whole = bare(answer, records[answers - 1]?.end ?? questionsEnd, opt, answers);
  const short = whole.length <= size ? whole : bare(answer, HEADER_BYTES, undefined);
  if (short.length === HEADER_BYTES) short.fill(0, 4, 6);
  short[2] = (short[2] ?? 0) | 0x02;
  short[3] = (short[3] ?? 0) | 0x80;
  return short;
}

/** An answer to `query` that says `rcode` and holds no records, as of a resolver that does recursion. */
export function reply(query: Uint8Array, { questionsEnd, opt }: Message, rcode: number): Uint8Array {
  const answer = bare(query, questionsEnd, opt === undefined ? undefined : ownOpt(opt, rcode >> 4));
  answer[2] = ((answer[2] ?? 0) & 0x79) | 0x80;
  answer[3] = 0x80 | (rcode & 0x0f);
  return answer;
}

/** SERVFAIL to `query`. */
export function failure(query: Uint8Array, message: Message): Uint8Array {
  return reply(query, message, RCODE.serverFailure);
}

/** A query with OPT is answered with OPT (RFC 6891, 7); ours has no options. */
function ownOpt(opt: Uint8Array, extendedRcode: number): Uint8Array {
  const own = Uint8Array.from(opt.subarray(0, OPT_BYTES)).fill(0, 5, OPT_BYTES);
  own[3] = OWN_UDP_BYTES >> 8;
  own[4] = OWN_UDP_BYTES & 0xff;
  own[5] = extendedRcode;
  // DO is repeated (RFC 3225, 3).
  own[7] = (opt[7] ?? 0) & 0x80;
  return own;
}

/**
 * What a resolver answered, as the answer to `query`, which asked the same: with its id, its spelling of the
 * name, and OPT as the query has it. Undefined when the answer cannot be made so.
 */
export function addressed(
  answer: Uint8Array,
  query: Uint8Array,
  { questionsEnd, opt }: Message,
): Uint8Array | undefined {
  const parts = parse(answer);
  if (parts === undefined || parts.questionsEnd !== questionsEnd) return undefined;
  let end = answer.length;
  if (opt === undefined && parts.opt !== undefined) {
    if (parts.optAt + parts.opt.length !== end) return undefined;
    end = parts.optAt;
  }
  const added = opt !== undefined && parts.opt === undefined ? ownOpt(opt, 0) : undefined;
  const whole = new Uint8Array(end + (added?.length ?? 0));
  whole.set(answer.subarray(0, end));
  whole.set(query.subarray(0, 2));
  whole.set(query.subarray(HEADER_BYTES, questionsEnd), HEADER_BYTES);
  whole[2] = ((whole[2] ?? 0) & 0xfc) | 0x80 | ((query[2] ?? 0) & 0x01);
  whole[3] = (whole[3] ?? 0) | 0x80;
  const additional = get16(whole, 10) + (added === undefined ? 0 : 1) - (end < answer.length ? 1 : 0);
  whole[10] = additional >> 8;
  whole[11] = additional & 0xff;
  if (added !== undefined) whole.set(added, end);
  else if (opt !== undefined) whole.set([OWN_UDP_BYTES >> 8, OWN_UDP_BYTES & 0xff], parts.optAt + 3);
  return whole;
}

export function rcodeOf(message: Uint8Array): number {
  return (message[3] ?? 0) & 0x0f;
}

/** TC: the answer is incomplete. */
export function isCut(message: Uint8Array): boolean {
  return ((message[2] ?? 0) & 0x02) !== 0;
}

/** Sets the TTL of every record, in seconds. */
export function setTtls(message: Uint8Array, places: readonly number[], ttl: (old: number) => number): void {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  for (const at of places) view.setUint32(at, ttl(view.getUint32(at)));
}
