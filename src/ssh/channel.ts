/**
 * Hop 6 of 8 (docs/data-path.md): the bytes of one flow, both ways. Before it, bastion.ts opened the
 * channel; after it, packet-cipher.ts and transport.ts make and send packets.
 */
import type { Channel, ChannelEnd } from '../core/dialer.ts';
import { FLOW_SEND_HIGH_WATER_BYTES, SSH_CHANNEL_PACKET_BYTES } from '../core/limits.ts';
import type { ChannelRoutes } from '../core/native.ts';
import type { ByteSink, ByteSource, NativeHalf } from '../core/stream.ts';
import { SendCredit } from './send-credit.ts';
import type { SendRing } from './send-ring.ts';
import { flowSender, sendData } from './ssh2.ts';
import type { GcmCipher } from './packet-cipher.ts';
import type { OpenConfirmation, Protocol } from './ssh2.ts';
import { ReceiveWindow } from './window.ts';

/** What a channel needs of its connection. */
export interface ChannelHost {
  readonly protocol: Protocol;
  /** Where native code finds the flow of a channel's data. */
  readonly routes: ChannelRoutes;
  readonly ring: SendRing;
  /** The channel sent or received something. */
  used(id: number): void;
  /** More than one channel uses the connection now. */
  shared(): boolean;
  /** The channel has something to send: give it a turn when it is due. */
  schedule(channel: SshChannel): void;
  /** Both sides have closed: the number is free. */
  release(id: number): void;
}

/** A confirmed `direct-tcpip` channel. */
export class SshChannel implements Channel {
  readonly id: number;
  readonly remoteId: number;
  /** Kept by the scheduler: true while the channel waits for its turn. */
  scheduled = false;

  readonly #host: ChannelHost;
  readonly #packetBytes: number;
  readonly #credit: SendCredit;
  readonly #receiveWindow = new ReceiveWindow();
  #source: ByteSource | undefined;
  #sink: ByteSink | undefined;
  #nativeSource: NativeHalf | undefined;
  #nativeSink: NativeHalf | undefined;
  #closed: ((end: ChannelEnd) => void) | undefined;
  #lagging = false;
  #eofSent = false;
  #eofReceived = false;
  #closeSent = false;

  constructor(id: number, host: ChannelHost, info: OpenConfirmation) {
    this.id = id;
    this.remoteId = info.sender;
    this.#host = host;
    this.#credit = new SendCredit(
      info.window,
      () => host.shared(),
      () => performance.now(),
    );
    this.#packetBytes = Math.min(info.packetSize, SSH_CHANNEL_PACKET_BYTES);
  }

  start(source: ByteSource, sink: ByteSink, closed: (end: ChannelEnd) => void): void {
    this.#source = source;
    this.#sink = sink;
    this.#closed = closed;
    this.#nativeSource = source.nativeSource;
    this.#nativeSink = sink.nativeSink;
    if (this.#nativeSink !== undefined) {
      this.#host.routes.set(this.id, this.#nativeSink.engine, this.#nativeSink.flow);
    }
    this.#host.schedule(this);
  }

  sourceReady(): void {
    if (!this.scheduled && this.#source !== undefined && !this.#eofSent) this.#host.schedule(this);
  }

  sinkDrained(): void {
    this.#lagging = false;
    if (this.#sink !== undefined) this.#topUp();
  }

  abort(): void {
    if (this.#closeSent) return;
    this.#sendClose();
    // Not called from inside `abort`, so that the caller's own bookkeeping comes first.
    const closed = this.#detach();
    if (closed !== undefined) process.nextTick(closed, 'aborted' satisfies ChannelEnd);
  }

  /** Sends until `quantum` is used up. True when the channel could go on at once. */
  turn(quantum: number): boolean {
    const sender = this.#nativeSource === undefined ? undefined : flowSender(this.#host.protocol);
    if (sender !== undefined && this.#nativeSource !== undefined) {
      return this.#turnNatively(sender, this.#nativeSource, quantum);
    }
    const protocol = this.#host.protocol;
    for (let left = quantum; left > 0;) {
      const source = this.#source;
      if (source === undefined || this.#eofSent) return false;
      const max = Math.min(this.#credit.available, this.#packetBytes);
      const chunk = max > 0 ? source.take(max) : undefined;
      if (chunk === undefined) {
        if (source.ended) this.#sendEof();
        return false;
      }
      const bytes = chunk.length;
      sendData(protocol, this.remoteId, chunk);
      this.#host.used(this.id);
      this.#credit.use(bytes, bytes === max);
      left -= bytes;
      source.taken(bytes);
    }
    return true;
  }

  #turnNatively(sender: GcmCipher, source: NativeHalf, quantum: number): boolean {
    if (this.#eofSent) return false;
    const max = Math.min(quantum, this.#credit.available);
    // With the window shut only the end can be passed on.
    if (max === 0) {
      if (this.#source?.ended === true) this.#sendEof();
      return false;
    }
    const sent = sender.sendFlow(source, this.remoteId, max, this.#packetBytes, this.#host.ring);
    if (sent.bytes > 0) this.#host.used(this.id);
    this.#credit.use(sent.bytes, sent.bytes === max);
    if (sent.ended) this.#sendEof();
    return !sent.ended && sent.bytes === max && this.#credit.available > 0;
  }

  /** Native code gave `bytes` to the flow, in which `queued` now wait. */
  moved(bytes: number, queued: number): void {
    this.#host.used(this.id);
    this.#nativeSink?.moved(bytes, false);
    if (!this.#receiveWindow.use(bytes)) this.abort();
    else this.#invite(queued);
  }

  /** The far end sent bytes; `data` is a view of the receive buffer. */
  data(data: Buffer): void {
    const sink = this.#sink;
    // After an abort the far end goes on until it has our CLOSE.
    if (sink === undefined) {
      if (!this.#closeSent) this.abort();
      return;
    }
    if (!this.#receiveWindow.use(data.length) || this.#eofReceived) {
      this.abort();
      return;
    }
    this.#host.used(this.id);
    this.#invite(sink.write(data));
  }

  /** Invites the far end to send more, unless the reader lags. */
  #invite(queued: number): void {
    if (queued > FLOW_SEND_HIGH_WATER_BYTES) {
      this.#lagging = true;
      this.#receiveWindow.lag();
    } else if (!this.#lagging) {
      this.#topUp();
    }
  }

  /** The far end invites `bytes` more. */
  adjusted(bytes: number): void {
    this.#credit.adjusted(bytes);
    this.sourceReady();
  }

  /** The far end sends no more. */
  eof(): void {
    if (this.#eofReceived || this.#sink === undefined) return;
    this.#eofReceived = true;
    this.#host.routes.remove(this.id);
    this.#sink.end();
    if (this.#eofSent) this.#finish();
  }

  /**
   * The far end closed. sshd closes once both directions ended, or when it can no longer write to
   * the target: if our EOF or its own has not been exchanged by then, the target reset.
   */
  peerClosed(): void {
    const ended: ChannelEnd = this.#eofSent && this.#eofReceived ? 'finished' : 'reset-by-peer';
    if (!this.#closeSent) this.#sendClose();
    this.#host.release(this.id);
    this.#detach()?.(ended);
  }

  /** The connection is gone. */
  lost(): void {
    this.#closeSent = true;
    this.#detach()?.('upstream-lost');
  }

  #topUp(): void {
    if (this.#eofReceived || this.#closeSent) return;
    const bytes = this.#receiveWindow.topUp();
    if (bytes > 0) this.#host.protocol.channelWindowAdjust(this.remoteId, bytes);
  }

  #sendEof(): void {
    this.#eofSent = true;
    this.#host.protocol.channelEOF(this.remoteId);
    if (this.#eofReceived) this.#finish();
  }

  #finish(): void {
    this.#sendClose();
    this.#detach()?.('finished');
  }

  #sendClose(): void {
    this.#closeSent = true;
    this.#host.protocol.channelClose(this.remoteId);
  }

  /** Lets go of both halves; the answer is to be called with the end. */
  #detach(): ((end: ChannelEnd) => void) | undefined {
    const closed = this.#closed;
    this.#host.routes.remove(this.id);
    this.#source = undefined;
    this.#sink = undefined;
    this.#nativeSource = undefined;
    this.#nativeSink = undefined;
    this.#closed = undefined;
    return closed;
  }
}
