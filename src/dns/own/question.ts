/** One question to one nameserver, by a marked socket: UDP, and TCP when the answer is cut short (RFC 7766). */
import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import type { Packet } from 'dns-packet';
import { familyOf } from '../../core/address.ts';
import { FWMARK, OWN_DNS_MESSAGE_MAX_BYTES } from '../../core/limits.ts';
import type { Native } from '../../core/native.ts';
import type { OwnSockets } from '../../core/own-sockets.ts';
import { readAnswer } from './answer.ts';
import type { Answer, AnswerType } from './answer.ts';

/** What questions are asked with. */
export interface Means {
  readonly native: Pick<Native, 'openUdp' | 'connectTcp'>;
  readonly own: OwnSockets;
  /** SO_MARK; `FWMARK` unless the caller may set none. */
  readonly mark?: number;
  /** UDP and TCP port of nameservers; 53. */
  readonly port?: number;
}

const PORT = 53;

/** A UDP socket with the mark that is connected to `address`; what it fails with is its 'error'. */
export function markedUdp(means: Means, address: string, port: number): dgram.Socket {
  const family = familyOf(address) ?? 4;
  const socket = dgram.createSocket(family === 4 ? 'udp4' : 'udp6');
  socket.bind({ fd: means.native.openUdp(family, means.mark ?? FWMARK) });
  socket.connect(port, address);
  socket.once('connect', () => {
    const { address: source, port: local } = socket.address();
    const forget = means.own.add('udp', { address: source, port: local }, { address, port });
    socket.once('close', forget);
  });
  return socket;
}

/**
 * The answer of the nameserver. Rejects with why there is none; never later than the abort of `signal`.
 * Datagrams that are no answer to this question are passed over.
 */
export async function ask(
  means: Means,
  nameserver: string,
  name: string,
  type: AnswerType,
  signal: AbortSignal,
): Promise<Answer> {
  const { encode } = await import('dns-packet');
  const question: Packet = {
    type: 'query',
    id: randomInt(0x1_0000),
    // RD (RFC 1035, 4.1.1).
    flags: 1 << 8,
    questions: [{ type, name, class: 'IN' }],
  };
  const message = encode(question);
  const wanted = { id: question.id ?? 0, name, type };
  const short = await byUdp(means, nameserver, message, wanted, signal);
  return short.truncated ? byTcp(means, nameserver, message, wanted, signal) : short;
}

type Wanted = Parameters<typeof readAnswer>[1];

function byUdp(
  means: Means,
  nameserver: string,
  message: Uint8Array,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = markedUdp(means, nameserver, means.port ?? PORT);
    const give = within(signal, () => socket.close(), reject);
    socket.on('connect', () => socket.send(message));
    socket.on('error', (error) => give(() => reject(error)));
    socket.on('message', (bytes) => {
      const take = async (): Promise<void> => {
        const answer = await readAnswer(bytes, wanted);
        if (answer !== undefined) give(() => resolve(answer));
      };
      void take();
    });
  });
}

function byTcp(
  means: Means,
  nameserver: string,
  message: Uint8Array,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const port = means.port ?? PORT;
    const fd = means.native.connectTcp(nameserver, port, means.mark ?? FWMARK, 0);
    const socket = new net.Socket({ fd, readable: true, writable: true });
    means.own.watch(socket, { address: nameserver, port });
    const give = within(signal, () => socket.destroy(), reject);
    let got = Buffer.alloc(0);
    socket.on('close', () => give(() => reject(new Error('the connection was closed'))));
    socket.on('error', (error) => give(() => reject(error)));
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      const end = got.length < 2 ? Infinity : 2 + got.readUInt16BE(0);
      if (got.length < end && got.length <= OWN_DNS_MESSAGE_MAX_BYTES) return;
      void readAnswer(got.subarray(2, end), wanted).then((answer) =>
        give(() => (answer === undefined ? reject(new Error('the answer makes no sense')) : resolve(answer))),
      );
    });
    const frame = Buffer.alloc(2 + message.length);
    frame.writeUInt16BE(message.length, 0);
    frame.set(message, 2);
    socket.write(frame);
  });
}

/** Makes the function that gives the one result and closes; when the signal comes first, that is the result. */
function within(
  signal: AbortSignal,
  close: () => void,
  reject: (error: Error) => void,
): (result: () => void) => void {
  let over = false;
  const aborted = (): void => give(() => reject(new Error('no answer in time')));
  const give = (result: () => void): void => {
    if (over) return;
    over = true;
    signal.removeEventListener('abort', aborted);
    close();
    result();
  };
  if (signal.aborted) process.nextTick(aborted);
  else signal.addEventListener('abort', aborted);
  return give;
}
