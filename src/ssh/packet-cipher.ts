/**
 * AES-GCM packet protection in our own native code, in the place of ssh2's: the two objects that its
 * `Protocol` expects. Once the handshake is done a link (link.ts) has both keys and the socket, and
 * these pass through what ssh2 sends.
 *
 * All packets of one direction share one invocation counter (RFC 5647, 7.1).
 */
import type { GcmOpener, GcmSealer, Native } from '../core/native.ts';
import type { Link } from './link.ts';

const LENGTH_FIELD = 4;
const TAG = 16;
const BLOCK = 16;
const SMALLEST_PADDING = 4;

const STATUS_MORE = 0;
const STATUS_PAYLOAD = 1;

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
  /** Takes packets in the place of `_onWrite` once it has the socket; outlives these keys. */
  link: Link | undefined;
  /** Used by nobody else from the moment at which a link takes over. */
  readonly sealer: GcmSealer;
  readonly #fillRandom: FillRandom;
  #dead = false;

  constructor(native: Native, keys: OutboundKeys, fillRandom: FillRandom, link: Link | undefined) {
    this.outSeqno = keys.seqno;
    this._onWrite = keys.onWrite;
    this.sealer = new native.GcmSealer(keys.cipherKey, keys.cipherIV);
    this.#fillRandom = fillRandom;
    this.link = link;
    link?.native.sealWith(this.sealer);
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
    if (this.link !== undefined) {
      this.link.submit(packet);
    } else {
      if (!this.sealer.seal(packet)) throw new Error('sealing a packet');
      this._onWrite(packet);
    }
    this.outSeqno = (this.outSeqno + 1) >>> 0;
  }
}

/** Stands in `Protocol._decipher`. Once a link receives, it only holds the keys. */
export class GcmDecipher {
  /** Read by ssh2 when the keys change. */
  inSeqno: number;
  /** Replaced by ssh2 while keys are exchanged. */
  _onPayload: (payload: Buffer) => unknown;
  /** ssh2's own deciphers keep a split packet here; ours does not. */
  readonly _packet = null;
  readonly opener: GcmOpener;

  constructor(native: Native, keys: InboundKeys, link: Link | undefined) {
    this.inSeqno = keys.seqno;
    this._onPayload = keys.onPayload;
    this.opener = new native.GcmOpener(keys.decipherKey, keys.decipherIV);
    link?.native.openWith(this.opener);
  }

  free(): void {}

  /**
   * Opens what `data` holds between `at` and `end`, in place. As ssh2's deciphers do, it returns a
   * position when what follows is not for these keys, and otherwise nothing. Throws when the data is
   * not what the server's key protected.
   */
  decrypt(data: Buffer, at: number, end: number): number | undefined {
    const { result } = this.opener;
    while (at < end) {
      at = this.opener.open(data, at, end);
      const status = result[0];
      if (status === STATUS_MORE) return undefined;
      if (status !== STATUS_PAYLOAD) {
        throw new Error(status === 2 ? 'Bad packet length' : 'Message authentication failed');
      }
      this.inSeqno = (this.inSeqno + 1) >>> 0;
      const start = result[2] ?? 0;
      const payload =
        result[1] === 0 ? data.subarray(start, start + (result[3] ?? 0)) : this.opener.carried();
      const answer = this._onPayload(payload);
      if (answer !== undefined) return answer === false ? at : (answer as number);
    }
    return undefined;
  }
}
