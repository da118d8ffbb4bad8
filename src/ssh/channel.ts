/**
 * Hop 6 of 8 (docs/data-path.md): the bytes of one flow, both ways. Before it, bastion.ts opened the
 * channel; after it, packet-cipher.ts and transport.ts make and send packets.
 */
import type { Channel, ChannelEnd, CommandOutcome } from '../core/dialer.ts';
import {
  COMMAND_ERRORS_BYTES,
  FLOW_SEND_HIGH_WATER_BYTES,
  SSH_CHANNEL_PACKET_BYTES,
} from '../core/limits.ts';
import type { ByteSink, ByteSource } from '../core/stream.ts';
import type { Link } from './link.ts';
import { SendCredit } from './send-credit.ts';
import { sendData } from './ssh2.ts';
import type { OpenConfirmation, Protocol } from './protocol.ts';
import { ReceiveWindow } from './window.ts';

/** What a channel needs of its connection. */
export interface ChannelHost {
  /** Name of the bastion. */
  readonly bastion: string | undefined;
  readonly protocol: Protocol;
  /** Set when native code moves the bytes of flows. */
  readonly link: Link | undefined;
  /** The channel sent or received something. */
  used(id: number): void;
  /** More than one channel uses the connection now. */
  shared(): boolean;
  /** The channel has something to send: give it a turn when it is due. */
  schedule(channel: SshChannel): void;
  /** Both sides have closed: the number is free. */
  release(id: number): void;
}

/** A confirmed channel: `direct-tcpip`, or one in which a command runs. */
export class SshChannel implements Channel {
  readonly id: number;
  readonly remoteId: number;
  readonly bastion?: string;
  readonly accepts: boolean;
  /** Kept by the scheduler: true while the channel waits for its turn. */
  scheduled = false;
  /** Of a command. */
  readonly outcome: { errors: string; status: number | undefined } & CommandOutcome = {
    errors: '',
    status: undefined,
  };

  readonly #host: ChannelHost;
  readonly #packetBytes: number;
  readonly #serverWindow: number;
  readonly #credit: SendCredit;
  readonly #receiveWindow = new ReceiveWindow();
  #source: ByteSource | undefined;
  #sink: ByteSink | undefined;
  /** Set while native code moves the bytes of both halves. */
  #link: Link | undefined;
  /** Of what native code has moved, the bytes that both halves were told of. */
  #accounted = { out: 0, in: 0 };
  #closed: ((end: ChannelEnd) => void) | undefined;
  #lagging = false;
  #eofSent = false;
  #eofReceived = false;
  #closeSent = false;

  /** `accepts`: native code is to accept the flow that waits. */
  constructor(id: number, host: ChannelHost, info: OpenConfirmation, accepts = false) {
    this.accepts = accepts;
    this.id = id;
    this.remoteId = info.sender;
    this.#host = host;
    if (host.bastion !== undefined) this.bastion = host.bastion;
    this.#serverWindow = info.window;
    this.#credit = new SendCredit(
      info.window,
      () => host.shared(),
      () => performance.now(),
    );
    // A server that allows packets of no data at all gets the smallest there are.
    this.#packetBytes = Math.max(1, Math.min(info.packetSize, SSH_CHANNEL_PACKET_BYTES));
  }

  start(source: ByteSource, sink: ByteSink, closed: (end: ChannelEnd) => void): void {
    this.#source = source;
    this.#sink = sink;
    this.#closed = closed;
    const flow = source.nativeSource?.flow;
    if (this.#host.link === undefined || flow === undefined || sink.nativeSink?.flow !== flow) {
      this.#host.schedule(this);
      return;
    }
    this.#link = this.#host.link;
    this.#link.native.attach(this.id, flow, this.remoteId, this.#serverWindow, this.#packetBytes);
  }

  sourceReady(): void {
    if (this.#link !== undefined) return;
    if (!this.scheduled && this.#source !== undefined && !this.#eofSent) this.#host.schedule(this);
  }

  sinkDrained(): void {
    if (this.#link !== undefined) return;
    this.#lagging = false;
    if (this.#sink !== undefined) this.#topUp();
  }

  account(): void {
    if (this.#link === undefined) return;
    this.#link.native.readTotals(this.id);
    const [out = 0, into = 0, ended = 0] = this.#link.native.totals;
    if (ended > 0) this.#eofSent = true;
    const before = this.#accounted;
    this.#accounted = { out, in: into };
    this.#source?.nativeSource?.moved(out - before.out, false);
    this.#sink?.nativeSink?.moved(into - before.in, false);
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

  /** The application has closed its half, and native code has sent all and an EOF. */
  sourceEnded(): void {
    if (this.#link === undefined) return;
    this.#eofSent = true;
    if (this.#eofReceived) this.#finish();
  }

  /** The far end sent bytes; `data` is a view of the receive buffer. */
  data(data: Buffer): void {
    const sink = this.#sink;
    // After an abort the far end goes on until it has our CLOSE.
    if (sink === undefined) {
      if (!this.#closeSent) this.abort();
      return;
    }
    if (this.#link !== undefined) {
      this.#link.native.took(this.id, data.length, sink.write(data));
      return;
    }
    if (!this.#receiveWindow.use(data.length) || this.#eofReceived) {
      this.abort();
      return;
    }
    this.#host.used(this.id);
    this.#invite(sink.write(data));
  }

  /** A command printed to stderr: its beginning is kept, the rest is dropped. */
  errors(data: Buffer): void {
    if (this.#sink === undefined || this.#link !== undefined) return;
    if (!this.#receiveWindow.use(data.length)) {
      this.abort();
      return;
    }
    const room = COMMAND_ERRORS_BYTES - this.outcome.errors.length;
    if (room > 0) this.outcome.errors += data.toString('latin1', 0, room);
    if (!this.#lagging) this.#topUp();
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
    if (this.#link !== undefined) {
      this.#link.native.adjust(this.id, bytes);
      return;
    }
    this.#credit.adjusted(bytes);
    this.sourceReady();
  }

  /** The far end sends no more. */
  eof(): void {
    if (this.#eofReceived || this.#sink === undefined) return;
    this.#eofReceived = true;
    this.#sink.end();
    // Native code tells of its own EOF after messages.
    this.account();
    if (this.#eofSent) this.#finish();
  }

  /**
   * The far end closed. sshd closes once both directions ended, or when it can no longer write to
   * the target: if our EOF or its own has not been exchanged by then, the target reset.
   */
  peerClosed(): void {
    this.account();
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
    // Nothing may follow a CLOSE.
    this.#unlink();
    this.#host.protocol.channelClose(this.remoteId);
  }

  #unlink(): void {
    const link = this.#link;
    if (link === undefined) return;
    this.account();
    this.#link = undefined;
    link.native.detach(this.id);
  }

  /** Lets go of both halves; the answer is to be called with the end. */
  #detach(): ((end: ChannelEnd) => void) | undefined {
    const closed = this.#closed;
    this.#unlink();
    this.#source = undefined;
    this.#sink = undefined;
    this.#closed = undefined;
    return closed;
  }
}
