/** Decodes the engine's datagram records. The layout is documented once, in native/engine/datagrams.h. */
import { formatIpv4, formatIpv6 } from '../core/address.ts';
import type { AnyDatagram } from '../core/datagram.ts';
import type { RejectReason } from '../core/flow.ts';
import type { NativeEngine } from '../core/native.ts';
import { reasonNumber } from './events.ts';

const HEADER_BYTES = 48;
const PROTOCOL_UDP = 1;
const REASON_TOO_BIG = 4;

/** The records that wait in `memory`, each copied out of it: the engine fills it anew. */
export function readDatagrams(memory: ArrayBuffer, count: number, native: NativeEngine): AnyDatagram[] {
  const datagrams: AnyDatagram[] = [];
  for (let at = 0, index = 0; index < count; index++) {
    const length = new Uint32Array(memory, at, 1)[0] ?? 0;
    const record = new Uint8Array(memory.slice(at, at + HEADER_BYTES + length));
    datagrams.push(decode(record, native));
    at += (HEADER_BYTES + length + 7) & ~7;
  }
  return datagrams;
}

function decode(record: Uint8Array, native: NativeEngine): AnyDatagram {
  const family = record[5] === 6 ? 6 : 4;
  const format = family === 4 ? formatIpv4 : formatIpv6;
  const header = record.subarray(0, HEADER_BYTES);
  const source = format(record, 16);
  const destination = format(record, 32);
  const udp = record[4] === PROTOCOL_UDP;
  const ports = new Uint16Array(record.buffer, 8, 2);
  const common = {
    family,
    whole: record[6] === 1,
    payload: record.subarray(HEADER_BYTES),
    answer: (payload: Uint8Array) => native.answer(header, payload),
    refuse: (reason: RejectReason = udp ? 'refused' : 'host-unreachable') =>
      native.refuse(header, reasonNumber(reason)),
    tooBig: (mtu: number) => native.refuse(header, REASON_TOO_BIG, mtu),
  } as const;
  if (!udp) return { protocol: 'echo', source, destination, identifier: ports[0] ?? 0, ...common };
  return {
    protocol: 'udp',
    source: { address: source, port: ports[0] ?? 0 },
    destination: { address: destination, port: ports[1] ?? 0 },
    ...common,
  };
}
