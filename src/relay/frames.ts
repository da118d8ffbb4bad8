/**
 * What netproxy and its relay on the bastion say to each other, over the stdin and stdout of one command.
 *
 * The relay begins with `MAGIC`; whatever a login shell printed stands before them. Then both
 * sides send frames. Numbers are in network order.
 *
 *   size  field
 *      2  length of what follows, at least 5
 *      1  type
 *      4  number of a flow, or a number of the type's own
 *         the rest, by type
 *
 * To the relay:
 *
 *   O  open    kind (1), port (2; 0 for ping), address (4 or 16)
 *              A flow begins: a connected socket of its own. A number in use is taken over.
 *              Kinds: 4 UDP, 6 UDP over IPv6, 0x14 ICMP echo, 0x16 ICMPv6 echo.
 *   D  data    flags (1), payload. Flag 1: the sender wants to be told when it is too big for the path.
 *              Of a ping the payload begins with the sequence number (2).
 *   C  close   A flow is over. One that is not known is ignored.
 *   T  time    The number is the sender's clock in milliseconds, modulo 2^32. What follows it was written
 *              then; what comes later than `RELAY_AGE_MS` beyond the shortest way seen is dropped. Also a sign
 *              of life.
 *
 * From the relay, once after `MAGIC`, without a number:
 *
 *   H  hello   version (1), flows that there is room for (2), what it can do (1): 1 UDP, 2 UDP over IPv6,
 *              4 ICMP echo, 8 ICMPv6 echo
 *
 * and afterwards:
 *
 *   D  data    payload
 *   E  error   code (1): 1 refused, 2 host unreachable, 3 network unreachable, 4 prohibited, 5 too big,
 *              6 no socket for the flow, which is not open; MTU of the path (2), or 0
 *   T  time    as above, and datagrams dropped so far (4)
 *
 * Either side ends at once when it reads anything else.
 */
import { RELAY_GREETING_BYTES } from '../core/limits.ts';

export const MAGIC: Buffer = Buffer.from('\0netproxy\r\n', 'latin1');
export const VERSION = 1;

export const KIND_UDP4 = 4;
export const KIND_UDP6 = 6;
export const KIND_PING4 = 0x14;
export const KIND_PING6 = 0x16;

export const CAN_UDP4 = 1;
export const CAN_UDP6 = 2;
export const CAN_PING4 = 4;
export const CAN_PING6 = 8;

export const ERROR_TOO_BIG = 5;
export const ERROR_NO_SOCKET = 6;

const OPEN = 0x4f;
const DATA = 0x44;
const CLOSE = 0x43;
const TIME = 0x54;
const ERROR = 0x45;
const HELLO = 0x48;

const LENGTH_BYTES = 2;
const HEAD_BYTES = 7;
const HELLO_BYTES = 5;
export const TIME_BYTES = 7;
/** An open of IPv6. */
export const OPEN_BYTES_MAX = 26;
export const DATA_HEAD_BYTES = 8;
export const CLOSE_BYTES = 7;

function head(out: Buffer, at: number, bytes: number, type: number, number: number): void {
  out.writeUInt16BE(bytes - LENGTH_BYTES, at);
  out[at + 2] = type;
  out.writeUInt32BE(number, at + 3);
}

/** Each writes a frame to `out` and returns the offset behind it. */
export function writeOpen(
  out: Buffer,
  at: number,
  flow: number,
  kind: number,
  port: number,
  address: Uint8Array,
): number {
  const bytes = HEAD_BYTES + 3 + address.length;
  head(out, at, bytes, OPEN, flow);
  out[at + HEAD_BYTES] = kind;
  out.writeUInt16BE(port, at + HEAD_BYTES + 1);
  out.set(address, at + HEAD_BYTES + 3);
  return at + bytes;
}

/** Flag 1 of `flags`: the sender wants to be told when it is too big for the path. */
export function writeData(out: Buffer, at: number, flow: number, flags: number, payload: Uint8Array): number {
  const bytes = DATA_HEAD_BYTES + payload.length;
  head(out, at, bytes, DATA, flow);
  out[at + HEAD_BYTES] = flags;
  out.set(payload, at + DATA_HEAD_BYTES);
  return at + bytes;
}

export function writeClose(out: Buffer, at: number, flow: number): number {
  head(out, at, HEAD_BYTES, CLOSE, flow);
  return at + HEAD_BYTES;
}

export function writeTime(out: Buffer, at: number, ms: number): number {
  head(out, at, HEAD_BYTES, TIME, ms >>> 0);
  return at + HEAD_BYTES;
}

export interface Hello {
  readonly version: number;
  readonly flows: number;
  /** `CAN_*` */
  readonly can: number;
}

export interface FrameEvents {
  hello(hello: Hello): void;
  /** `payload` is a view that is valid until the call returns. */
  data(flow: number, payload: Buffer): void;
  error(flow: number, code: number, mtu: number): void;
  time(ms: number, dropped: number): void;
}

/** Reads what the relay sends, in chunks of any size. */
export class FrameReader {
  readonly #events: FrameEvents;
  /** The beginning of a frame, or all before the magic. */
  #rest: Buffer = Buffer.alloc(0);
  #begun = false;
  #greeted = false;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  /** What was printed before the magic, or so far. */
  get printed(): string {
    return this.#begun ? '' : this.#rest.toString('latin1');
  }

  /** False when this is not what a relay sends; nothing is to be read any more then. */
  read(chunk: Uint8Array): boolean {
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const data = this.#rest.length === 0 ? view : Buffer.concat([this.#rest, view]);
    let at = 0;
    if (!this.#begun) {
      const start = data.indexOf(MAGIC);
      if (start < 0) {
        this.#rest = Buffer.from(data);
        return data.length <= RELAY_GREETING_BYTES;
      }
      this.#begun = true;
      at = start + MAGIC.length;
    }
    while (data.length - at > LENGTH_BYTES) {
      const length = data.readUInt16BE(at);
      if (length < HELLO_BYTES) return false;
      const next = at + LENGTH_BYTES + length;
      if (next > data.length) break;
      if (!this.#frame(data.subarray(at + LENGTH_BYTES, next))) return false;
      at = next;
    }
    this.#rest = Buffer.from(data.subarray(at));
    return true;
  }

  #frame(frame: Buffer): boolean {
    const type = frame[0];
    if (!this.#greeted) {
      if (type !== HELLO || frame.length !== HELLO_BYTES || frame[1] !== VERSION) return false;
      this.#greeted = true;
      this.#events.hello({ version: frame[1], flows: frame.readUInt16BE(2), can: frame[4]! });
      return true;
    }
    const number = frame.readUInt32BE(1);
    if (type === DATA) this.#events.data(number, frame.subarray(5));
    else if (type === ERROR && frame.length === 8)
      this.#events.error(number, frame[5]!, frame.readUInt16BE(6));
    else if (type === TIME && frame.length === 9) this.#events.time(number, frame.readUInt32BE(5));
    else return false;
    return true;
  }
}
