/** Pings past every bastion, by sockets that the kernel lets unprivileged users have (icmp(7)). */
import type { EchoRequest } from '../core/datagram.ts';
import { DIRECT_PINGS_MAX, UDP_SWEEP_MS } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { echoKey, WaitingEchoes } from '../core/waiting-echoes.ts';
import { DatagramSocket } from './socket.ts';
import type { SocketMeans } from './socket.ts';

export interface DirectPingOptions extends SocketMeans {
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  now(): number;
  /** Answers the pings that netproxy may not send. */
  otherwise(request: EchoRequest): void;
}

/** Of ICMP and of ICMPv6 (RFC 792, RFC 4443): type, code, checksum, identifier and sequence number. */
const HEADER_BYTES = 8;
const SEQUENCE_AT = 6;
const REQUEST = { 4: 8, 6: 128 } as const;
const REPLY = { 4: 0, 6: 129 } as const;

/** The pings of one socket of the application, to one host. */
interface Conversation {
  readonly socket: DatagramSocket;
  readonly waiting: WaitingEchoes;
}

export class DirectPing {
  readonly #options: DirectPingOptions;
  /** The one used longest ago first. */
  readonly #open = new Map<string, Conversation>();
  #sweep: NodeJS.Timeout | undefined;
  #told = false;

  constructor(options: DirectPingOptions) {
    this.#options = options;
  }

  get sockets(): number {
    return this.#open.size;
  }

  accept(request: EchoRequest): void {
    const key = echoKey(request);
    let conversation: Conversation;
    try {
      conversation = this.#open.get(key) ?? this.#start(key, request);
    } catch (error) {
      this.#tell(error as Error);
      this.#options.otherwise(request);
      return;
    }
    // Set anew, so that it stands last.
    this.#open.delete(key);
    this.#open.set(key, conversation);
    const message = Buffer.alloc(HEADER_BYTES + request.payload.length);
    message[0] = REQUEST[request.family];
    message.writeUInt16BE(conversation.waiting.add(request, this.#options.now()), SEQUENCE_AT);
    message.set(request.payload, HEADER_BYTES);
    conversation.socket.send(message, request.whole);
  }

  close(): void {
    clearInterval(this.#sweep);
    this.#sweep = undefined;
    for (const { socket } of this.#open.values()) socket.close();
    this.#open.clear();
  }

  #start(key: string, { family, destination }: EchoRequest): Conversation {
    const waiting = new WaitingEchoes();
    const to = { address: destination, port: 0 };
    const socket = new DatagramSocket('icmp', family, to, this.#options, {
      received: (message) => {
        if (message.length < HEADER_BYTES || message[0] !== REPLY[family]) return;
        waiting.answer(message.readUInt16BE(SEQUENCE_AT), message.subarray(HEADER_BYTES));
      },
      failed: (reason) => {
        for (const each of waiting.release()) each.refuse(reason);
      },
      tooBig: (mtu) => {
        for (const each of waiting.release()) each.tooBig(mtu);
      },
      ended: () => void this.#open.delete(key),
    });
    for (const [oldest, { socket: other }] of this.#open) {
      if (this.#open.size < DIRECT_PINGS_MAX) break;
      this.#open.delete(oldest);
      other.close();
    }
    this.#sweep ??= setInterval(() => this.#closeIdle(), UDP_SWEEP_MS).unref();
    return { socket, waiting };
  }

  #closeIdle(): void {
    const now = this.#options.now();
    for (const [key, { socket, waiting }] of this.#open) {
      if (!waiting.idle(now)) continue;
      this.#open.delete(key);
      socket.close();
    }
    if (this.#open.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  #tell({ message }: Error): void {
    if (this.#told) return;
    this.#told = true;
    this.#options.log.info(
      {},
      `pings cannot be sent as they are (${message}; see net.ipv4.ping_group_range), and are answered by connects`,
    );
  }
}
