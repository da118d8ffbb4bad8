/** The same pseudo-random bytes for client and target, so that each knows what the other must have got. */
import { createCipheriv, createHash } from 'node:crypto';
import type { Socket } from 'node:net';

const CHUNK_BYTES = 256 * 1024;

function* chunks(bytes: number): Generator<Buffer> {
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK_BYTES);
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    yield stream.update(zeros.subarray(0, Math.min(left, CHUNK_BYTES)));
  }
}

/** What `Received.digest` is after exactly these bytes in this order. */
export function digestOf(bytes: number): string {
  const hash = createHash('sha256');
  for (const chunk of chunks(bytes)) hash.update(chunk);
  return hash.digest('hex');
}

export interface Received {
  readonly bytes: number;
  readonly digest: string;
}

/** Sends, heeding backpressure, and then closes this direction only. */
export async function send(socket: Socket, bytes: number): Promise<void> {
  for (const chunk of chunks(bytes)) {
    if (!socket.write(chunk)) await new Promise<void>((resolve) => socket.once('drain', resolve));
  }
  socket.end();
}

/** Reads until the other side has closed its direction. Fails when the connection is cut. */
export function receive(socket: Socket): Promise<Received> {
  const hash = createHash('sha256');
  let bytes = 0;
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    socket.once('end', () => resolve({ bytes, digest: hash.digest('hex') }));
    socket.once('error', reject);
  });
}
