/** What an answer says, read by a library: how long it holds, and the addresses that it gives. */
import { decode } from 'dns-packet';

import { familyOf } from '../core/address.ts';
import { canonicalAddress } from '../core/cidr.ts';
import { DNS_NEGATIVE_TTL_MAX_S, DNS_TTL_MAX_S } from '../core/limits.ts';
import { isCut, RCODE, rcodeOf } from './message.ts';

export interface Answer {
  /** Seconds; undefined: it may not be kept. */
  readonly ttl: number | undefined;
  /** Canonical text. Of the name that was asked for, by way of its aliases. */
  readonly addresses: readonly string[];
}

/** Reads an answer to a question for `name`; undefined when it cannot be read. */
export function readAnswer(bytes: Uint8Array, name: string): Answer | undefined {
  try {
    return read(bytes, name);
  } catch {
    return undefined;
  }
}

function read(bytes: Uint8Array, name: string): Answer {
  const packet = decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  const rcode = rcodeOf(bytes);
  const records = packet.answers ?? [];
  const names = new Set([name]);
  const addresses: string[] = [];
  let ttl = DNS_TTL_MAX_S;
  for (const record of records) {
    if (record.type === 'OPT' || !('ttl' in record)) continue;
    ttl = Math.min(ttl, record.ttl ?? 0);
    if (!names.has(record.name.toLowerCase())) continue;
    // Aliases stand before what they lead to, in every server's answers.
    if (record.type === 'CNAME') names.add(record.data.toLowerCase());
    if (record.type !== 'A' && record.type !== 'AAAA') continue;
    const family = familyOf(record.data);
    if (family !== undefined) addresses.push(canonicalAddress(record.data, family));
  }
  const kept = rcode === RCODE.ok || rcode === RCODE.noSuchName;
  if (!kept || isCut(bytes)) return { ttl: undefined, addresses };
  const last = records.findLast((record) => record.type !== 'OPT');
  const negative = rcode === RCODE.noSuchName || last === undefined || last.type === 'CNAME';
  if (!negative) return { ttl, addresses };
  // RFC 2308, 5: without an SOA there is no saying for how long it holds.
  const soa = packet.authorities?.find((record) => record.type === 'SOA');
  if (soa === undefined)
    return {
      ttl: records.length > 0 && last?.type === 'CNAME' && rcode === RCODE.ok ? ttl : undefined,
      addresses,
    };
  const minimum = Math.min(soa.ttl ?? 0, soa.data.minimum ?? 0, DNS_NEGATIVE_TTL_MAX_S);
  return { ttl: records.length > 0 ? Math.min(ttl, minimum) : minimum, addresses };
}
