/**
 * AES-GCM packet protection in our own native code, in the place of ssh2's: the same two objects that
 * its `Protocol` expects, and beside them a way for whole runs of channel data to pass between a flow
 * and the socket without being shown to JavaScript.
 *
 * Both ways share one invocation counter for each direction (RFC 5647, 7.1), so all packets of a
 * connection go through here once the keys are in use.
 */
import type { ChannelRoutes, GcmOpener, GcmSealer, Native } from '../core/native.ts';
import type { NativeHalf } from '../core/stream.ts';
import type { SendRing } from './send-ring.ts';

const LENGTH_FIELD = 4;
const TAG = 16;
const BLOCK = 16;
const SMALLEST_PADDING = 4;

const STATUS_MORE = 0;
const STATUS_PAYLOAD = 1;
const STATUS_REPORTS_FULL = 4;
const REPORTS_AT = 6;
const REPORT_WORDS = 3;

/** What ssh2 gives for one direction when keys come into use. */
export interface OutboundKeys {
  readonly seqno: number;
  readonly onWrite: (packet: Buffer) => void;
  readonly cipherKey: Buffer;
  readonly cipherIV: Buffer;
}
export interface InboundKeys {
  readonly seqno: number;
  readonly onPayload: (payload: Buffer) => unknown;
  readonly decipherKey: Buffer;
  readonly decipherIV: Buffer;
}

type FillRandom = (buffer: Buffer, offset: number, size: number) => unknown;

/** Stands in `Protocol._cipher`. */
export class GcmCipher {
  /** Read by ssh2 when the keys change. */
  outSeqno: number;
  readonly _onWrite: (packet: Buffer) => void;
  readonly #sealer: GcmSealer;
  readonly #fillRandom: FillRandom;
  #dead = false;

  constructor(native: Native, keys: OutboundKeys, fillRandom: FillRandom) {
    this.outSeqno = keys.seqno;
    this._onWrite = keys.onWrite;
    this.#sealer = new native.GcmSealer(keys.cipherKey, keys.cipherIV);
    this.#fillRandom = fillRandom;
  }

  free(): void {
    this.#dead = true;
  }

  /** A packet with its length field, padding and room for the tag; ssh2 writes the payload at 5. */
  allocPacket(payloadBytes: number): Buffer {
    const unpadded = 1 + payloadBytes;
    let padding = BLOCK - (unpadded % BLOCK);
    if (padding < SMALLEST_PADDING) padding += BLOCK;
    const body = unpadded + padding;
    const packet = Buffer.allocUnsafe(LENGTH_FIELD + body + TAG);
    packet.writeUInt32BE(body, 0);
    packet[LENGTH_FIELD] = padding;
    this.#fillRandom(packet, LENGTH_FIELD + unpadded, padding);
    return packet;
  }

  encrypt(packet: Buffer): void {
    if (this.#dead) return;
    if (!this.#sealer.seal(packet)) throw new Error('sealing a packet');
    this._onWrite(packet);
    this.outSeqno = (this.outSeqno + 1) >>> 0;
  }

  /**
   * Sends at most `max` bytes of a flow as channel data; returns how many, and whether the half-close
   * may follow.
   */
  sendFlow(
    half: NativeHalf,
    channel: number,
    max: number,
    largest: number,
    ring: SendRing,
  ): { bytes: number; ended: boolean } {
    if (this.#dead) return { bytes: 0, ended: false };
    const { memory, offset } = ring.reserve(max);
    const { result } = this.#sealer;
    const written = this.#sealer.sealFlow(half.engine, half.flow, channel, max, largest, memory, offset);
    if (result[3] === 1) throw new Error('sealing channel data');
    const bytes = result[0] ?? 0;
    const ended = result[2] === 1;
    if (written > 0) {
      this.outSeqno = (this.outSeqno + (result[1] ?? 0)) >>> 0;
      this._onWrite(ring.commit(written));
    }
    if (bytes > 0 || ended) half.moved(bytes, ended);
    return { bytes, ended };
  }
}

/** What native code passed to flows by itself. */
export interface Delivery {
  readonly routes: ChannelRoutes;
  /** `bytes` of `channel` were given to its flow, in which `queued` now wait. */
  moved(channel: number, bytes: number, queued: number): void;
}

/** Stands in `Protocol._decipher`. */
export class GcmDecipher {
  /** Read by ssh2 when the keys change. */
  inSeqno: number;
  /** Replaced by ssh2 while keys are exchanged. */
  _onPayload: (payload: Buffer) => unknown;
  /** ssh2's own deciphers keep a split packet here; ours does not. */
  readonly _packet = null;
  /** Set once channels may be joined to flows. */
  delivery: Delivery | undefined;
  readonly #opener: GcmOpener;

  constructor(native: Native, keys: InboundKeys, base: number) {
    this.inSeqno = keys.seqno;
    this._onPayload = keys.onPayload;
    this.#opener = new native.GcmOpener(keys.decipherKey, keys.decipherIV, base);
  }

  free(): void {}

  /**
   * Opens what `data` holds between `at` and `end`, in place. As ssh2's deciphers do, it returns a
   * position when what follows is not for these keys, and otherwise nothing. Throws when the data is
   * not what the server's key protected.
   */
  decrypt(data: Buffer, at: number, end: number): number | undefined {
    const { result } = this.#opener;
    while (at < end) {
      at = this.#opener.open(data, at, end, this.delivery?.routes);
      this.inSeqno = (this.inSeqno + (result[4] ?? 0)) >>> 0;
      this.#report(result);
      const status = result[0];
      if (status === STATUS_MORE) return undefined;
      if (status === STATUS_REPORTS_FULL) continue;
      if (status !== STATUS_PAYLOAD) {
        throw new Error(status === 2 ? 'Bad packet length' : 'Message authentication failed');
      }
      const start = result[2] ?? 0;
      const payload =
        result[1] === 0 ? data.subarray(start, start + (result[3] ?? 0)) : this.#opener.carried();
      const answer = this._onPayload(payload);
      if (answer !== undefined) return answer === false ? at : (answer as number);
    }
    return undefined;
  }

  #report(result: Uint32Array): void {
    const count = result[5] ?? 0;
    if (count === 0) return;
    // A copy: what is done about a report may open further packets.
    const reports = result.slice(REPORTS_AT, REPORTS_AT + count * REPORT_WORDS);
    for (let i = 0; i < reports.length; i += REPORT_WORDS) {
      this.delivery?.moved(reports[i]!, reports[i + 1]!, reports[i + 2]!);
    }
  }
}
