/**
 * The namespace's own resolvers, to which local names go: by UDP, and by TCP what does not fit, over marked
 * sockets, which are neither captured nor filtered.
 */
import type { Socket as UdpSocket } from 'node:dgram';
import net from 'node:net';

import { DNS_NEAR_ATTEMPT_MS, FWMARK } from '../core/limits.ts';
import { DNS_PORT } from './far.ts';
import { MessageSink } from './framing.ts';
import { HEADER_BYTES, idOf, isCut, setId } from './message.ts';
import { markedUdp } from './own/question.ts';
import type { Means } from './own/question.ts';
import { answers } from './question.ts';
import type { Done } from './resolver.ts';

/** Addresses are tried in their order, and all of them once more: a datagram may be lost. */
const ROUNDS = 2;
const IDS = 0x1_0000;

export class Near {
  readonly #sockets: Means;
  readonly #attempts = new Set<Attempt>();

  constructor(sockets: Means) {
    this.#sockets = sockets;
  }

  /** Asks the resolvers at these addresses, port 53, until one answers or the deadline is over. */
  ask(
    wire: Uint8Array,
    questionsEnd: number,
    addresses: readonly string[],
    deadlineMs: number,
    done: Done,
  ): void {
    const query: NearQuery = { wire, questionsEnd, sockets: this.#sockets };
    const tries = Array.from({ length: ROUNDS }, () => addresses).flat();
    const end = performance.now() + deadlineMs;
    const next = (): void => {
      const address = tries.shift();
      const left = end - performance.now();
      if (address === undefined || left <= 0) {
        setImmediate(done, undefined);
        return;
      }
      const attempt = new Attempt(query, address, Math.min(left, DNS_NEAR_ATTEMPT_MS), (answer) => {
        this.#attempts.delete(attempt);
        if (answer === undefined) next();
        else done(answer);
      });
      this.#attempts.add(attempt);
      attempt.start();
    };
    next();
  }

  /** Questions that wait get no answer. */
  close(): void {
    for (const attempt of this.#attempts) attempt.cancel();
    this.#attempts.clear();
  }
}

interface NearQuery {
  readonly wire: Uint8Array;
  readonly questionsEnd: number;
  readonly sockets: Means;
}

/** One question to one resolver, by a socket of its own: nobody can guess its port and id (RFC 5452). */
class Attempt {
  readonly #query: NearQuery;
  readonly #address: string;
  readonly #finished: Done;
  readonly #message: Uint8Array;
  readonly #timer: NodeJS.Timeout;
  #udp: UdpSocket | undefined;
  #tcp: net.Socket | undefined;
  #over = false;

  constructor(query: NearQuery, address: string, deadlineMs: number, finished: Done) {
    this.#query = query;
    this.#address = address;
    this.#finished = finished;
    this.#message = Uint8Array.from(query.wire);
    setId(this.#message, Math.floor(Math.random() * IDS));
    this.#timer = setTimeout(() => this.#finish(undefined), deadlineMs);
  }

  start(): void {
    try {
      this.#byUdp();
    } catch {
      // No route, or no such device: the resolver cannot be had.
      setImmediate(() => this.#finish(undefined));
    }
  }

  cancel(): void {
    this.#over = true;
    this.#release();
  }

  #byUdp(): void {
    const socket = markedUdp(this.#query.sockets, this.#address, DNS_PORT);
    this.#udp = socket;
    // ICMP: nobody listens there, or there is no way.
    socket.on('error', () => this.#finish(undefined));
    socket.on('message', (answer) => {
      if (!this.#isOurs(answer)) return;
      if (isCut(answer)) this.#byTcp();
      else this.#finish(Uint8Array.from(answer));
    });
    socket.once('connect', () => {
      if (this.#over) return;
      socket.send(this.#message, (error) => {
        if (error !== null) this.#finish(undefined);
      });
    });
  }

  #byTcp(): void {
    if (this.#tcp !== undefined) return;
    try {
      const fd = this.#query.sockets.native.connectTcp(this.#address, DNS_PORT, FWMARK, DNS_NEAR_ATTEMPT_MS);
      const socket = new net.Socket({ fd, readable: true, writable: true });
      this.#tcp = socket;
      this.#query.sockets.own.watch(socket, { address: this.#address, port: DNS_PORT });
      const sink = new MessageSink(
        (answer) => {
          if (this.#isOurs(answer)) this.#finish(Uint8Array.from(answer));
        },
        () => {},
      );
      socket.on('error', () => this.#finish(undefined));
      socket.on('close', () => this.#finish(undefined));
      socket.on('data', (chunk: Buffer) => sink.write(chunk));
      const length = Buffer.of(this.#message.length >> 8, this.#message.length & 0xff);
      socket.write(Buffer.concat([length, this.#message]));
    } catch {
      this.#finish(undefined);
    }
  }

  #isOurs(answer: Uint8Array): boolean {
    return (
      answer.length >= HEADER_BYTES &&
      idOf(answer) === idOf(this.#message) &&
      answers(answer, this.#message, this.#query.questionsEnd)
    );
  }

  #finish(answer: Uint8Array | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#release();
    this.#finished(answer);
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#udp?.removeAllListeners('message');
    this.#udp?.close();
    this.#tcp?.destroy();
  }
}
