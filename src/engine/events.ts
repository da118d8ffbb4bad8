/** Decodes the engine's event records. The layout is documented once, in native/engine/events.h. */
import { formatIpv4, formatIpv6 } from '../core/address.ts';
import type { FlowEnd, FlowTuple, RejectReason } from '../core/flow.ts';

export const RECORD_BYTES = 48;

export const EVENT_OPENED = 1;
export const EVENT_READABLE = 2;
export const EVENT_DRAINED = 3;
export const EVENT_CLOSED = 4;
export const EVENT_DEVICE_LOST = 5;
export const EVENT_DATAGRAMS = 6;

const END: readonly FlowEnd[] = ['finished', 'reset-by-app', 'aborted', 'timed-out'];

const REASON: Readonly<Record<RejectReason, number>> = {
  refused: 0,
  'network-unreachable': 1,
  'host-unreachable': 2,
  prohibited: 3,
};

export function reasonNumber(reason: RejectReason): number {
  return REASON[reason];
}

export interface EventReader {
  type(index: number): number;
  flow(index: number): number;
  end(index: number): FlowEnd;
  tuple(index: number): FlowTuple;
}

/** Reads records out of `memory`, which the engine fills anew at every poll. */
export function eventReader(memory: ArrayBuffer): EventReader {
  const words = new Uint32Array(memory);
  const halves = new Uint16Array(memory);
  const bytes = new Uint8Array(memory);
  const wordsEach = RECORD_BYTES / 4;
  return {
    type: (index) => words[index * wordsEach] ?? 0,
    flow: (index) => words[index * wordsEach + 1] ?? 0,
    end: (index) => END[words[index * wordsEach + 2] ?? 0] ?? 'aborted',
    tuple(index) {
      const family = words[index * wordsEach + 2] === 6 ? 6 : 4;
      const format = family === 4 ? formatIpv4 : formatIpv6;
      const at = index * RECORD_BYTES;
      return {
        protocol: 'tcp',
        family,
        source: { address: format(bytes, at + 16), port: halves[at / 2 + 6] ?? 0 },
        destination: { address: format(bytes, at + 32), port: halves[at / 2 + 7] ?? 0 },
      };
    },
  };
}
