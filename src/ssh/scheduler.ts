import type net from 'node:net';
import { SSH_QUANTUM_BYTES, SSH_SEND_QUEUE_MARK_BYTES } from '../core/limits.ts';
import type { SshChannel } from './channel.ts';
import { keyExchangeRuns } from './ssh2.ts';
import type { Protocol } from './protocol.ts';
import type { Transport } from './transport.ts';

/** Times that the queue may be filled anew in one turn of the event loop. The kernel often takes all
 * at once, so without a bound an upload would keep everything else from its turn. */
const FILLS_PER_TURN = 2;

/** Decides which channel of a connection sends next: round robin, a quantum each. */
export class Scheduler {
  readonly #transport: Transport;
  readonly #socket: net.Socket;
  readonly #protocol: Protocol;
  #waiting: SshChannel[] = [];
  #head = 0;
  #runPlanned = false;
  #fills = 0;
  readonly #run = (): void => this.run();
  readonly #nextTurn = (): void => {
    this.#fills = 0;
    this.run();
  };

  constructor(transport: Transport, protocol: Protocol) {
    this.#transport = transport;
    this.#socket = transport.socket;
    this.#protocol = protocol;
    this.#socket.on('drain', () => this.drained());
  }

  /** Gives `channel` a place in the round. */
  add(channel: SshChannel): void {
    if (channel.scheduled) return;
    channel.scheduled = true;
    this.#waiting.push(channel);
    if (this.#runPlanned) return;
    // Not at once: all that became ready in this turn is to share the queue.
    this.#runPlanned = true;
    process.nextTick(this.#run);
  }

  /** Fills the socket's queue to its mark. Also called when a key exchange has ended. */
  run(): void {
    this.#runPlanned = false;
    while (this.#head < this.#waiting.length) {
      if (this.#transport.queued > SSH_SEND_QUEUE_MARK_BYTES) {
        this.#transport.wantDrained();
        break;
      }
      if (keyExchangeRuns(this.#protocol)) break;
      if (!this.#socket.writable) break;
      const channel = this.#waiting[this.#head++]!;
      channel.scheduled = false;
      if (channel.turn(SSH_QUANTUM_BYTES)) {
        channel.scheduled = true;
        this.#waiting.push(channel);
      }
    }
    this.#compact();
    this.#transport.flush();
  }

  /** The socket's queue was sent. */
  drained(): void {
    if (this.#head === this.#waiting.length) return;
    if (this.#fills++ === 0) setImmediate(this.#nextTurn);
    if (this.#fills <= FILLS_PER_TURN) this.run();
  }

  #compact(): void {
    if (this.#head === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
  }
}
