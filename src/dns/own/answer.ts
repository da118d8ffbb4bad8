import { isIP } from 'node:net';

/** The types of records that are asked for. */
export type AnswerType = 'A' | 'AAAA';

export interface Answer {
  /** RFC 1035, 4.1.1, by name: NOERROR, NXDOMAIN, SERVFAIL … */
  readonly rcode: string;
  /** The whole answer is to be had by TCP. */
  readonly truncated: boolean;
  readonly addresses: readonly string[];
  /** Seconds that the addresses hold. */
  readonly ttl: number;
}

/** Seconds. Addresses that come without a time to live. */
const TTL_UNKNOWN = 60;

/** Reads an answer; undefined when the bytes are none, or not to this question. */
export async function readAnswer(
  bytes: Uint8Array,
  wanted: { readonly id: number; readonly name: string; readonly type: AnswerType },
): Promise<Answer | undefined> {
  const { decode } = await import('dns-packet');
  try {
    const packet = decode(Buffer.from(bytes));
    const [question] = packet.questions ?? [];
    if (packet.type !== 'response' || packet.id !== wanted.id) return undefined;
    // Some servers leave the question out of a refusal.
    if (question !== undefined && !isSame(question, wanted)) return undefined;
    const records = packet.answers ?? [];
    const addresses = records.flatMap((record) =>
      record.type === wanted.type && isIP(record.data) !== 0 ? [record.data] : [],
    );
    if (addresses.length > 0 && question === undefined) return undefined;
    const lives = records.flatMap((record) =>
      'ttl' in record && typeof record.ttl === 'number' ? [record.ttl] : [],
    );
    return {
      rcode: (packet as { rcode?: string }).rcode ?? 'NOERROR',
      truncated: packet.flag_tc,
      addresses: [...new Set(addresses)],
      ttl: lives.length === 0 ? TTL_UNKNOWN : Math.min(...lives),
    };
  } catch {
    // The parser throws at whatever makes no sense.
    return undefined;
  }
}

function isSame(
  question: { readonly name: string; readonly type: string },
  wanted: { name: string; type: string },
): boolean {
  const plain = (name: string): string => name.replace(/\.$/, '').toLowerCase();
  return plain(question.name) === plain(wanted.name) && question.type === wanted.type;
}
