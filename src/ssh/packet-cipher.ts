/**
 * Packet protection by AES-GCM and chacha20-poly1305 in our own native code, in the place of ssh2's: the
 * two objects that its `Protocol` expects. Once the handshake is done a link (link.ts) has both keys and
 * the socket, and these pass through what ssh2 sends.
 *
 * All packets of one direction share one counter, which only native code knows: it makes most of them.
 */
import type { Native, PacketOpener, PacketSealer } from '../core/native.ts';
import type { Link } from './link.ts';

const LENGTH_FIELD = 4;
const TAG = 16;
/** Of AES; a multiple of that of chacha20-poly1305. */
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
export class NativeCipher {
  readonly _onWrite: (packet: Buffer) => void;
  /** Takes packets in the place of `_onWrite` once it has the socket; outlives these keys. */
  link: Link | undefined;
  /** Used by nobody else from the moment at which a link takes over. */
  readonly sealer: PacketSealer;
  readonly #fillRandom: FillRandom;
  /** What ssh2 has the next keys begin with; after it these protect nothing more. */
  #next: number | undefined;
  #dead = false;

  constructor(native: Native, keys: OutboundKeys, fillRandom: FillRandom, link: Link | undefined) {
    this._onWrite = keys.onWrite;
    this.sealer = new native.PacketSealer(keys.cipherKey, keys.cipherIV, keys.seqno);
    this.#fillRandom = fillRandom;
    this.link = link;
    link?.native.sealWith(this.sealer);
  }

  /** Read by ssh2 when the keys change, and set to 0 by it in strict key exchange. */
  get outSeqno(): number {
    return this.#next ?? this.sealer.sequence;
  }

  set outSeqno(value: number) {
    this.#next = value;
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
  }
}

/** Stands in `Protocol._decipher`. Once a link receives, it only holds the keys. */
export class NativeDecipher {
  /** Replaced by ssh2 while keys are exchanged. */
  _onPayload: (payload: Buffer) => unknown;
  /** ssh2's own deciphers keep a split packet here; ours does not. */
  readonly _packet = null;
  readonly opener: PacketOpener;
  /** As in the cipher. */
  #next: number | undefined;

  constructor(native: Native, keys: InboundKeys, link: Link | undefined) {
    this._onPayload = keys.onPayload;
    this.opener = new native.PacketOpener(keys.decipherKey, keys.decipherIV, keys.seqno);
    link?.native.openWith(this.opener);
  }

  get inSeqno(): number {
    return this.#next ?? this.opener.sequence;
  }

  set inSeqno(value: number) {
    this.#next = value;
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
      const start = result[2] ?? 0;
      const payload =
        result[1] === 0 ? data.subarray(start, start + (result[3] ?? 0)) : this.opener.carried();
      const answer = this._onPayload(payload);
      if (answer !== undefined) return answer === false ? at : (answer as number);
    }
    return undefined;
  }
}
