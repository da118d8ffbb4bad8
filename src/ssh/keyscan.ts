/**
 * The host keys of a server, each of which it has proved to have. That says nothing of who the server is:
 * whoever is on the way can show keys of his own.
 */
import net from 'node:net';
import { PLAIN_HOST_KEYS } from '../core/algorithms.ts';
import { offer } from './algorithms.ts';
import { blobType, fingerprint } from './fingerprint.ts';
import { knownHostsLine } from './known-hosts.ts';
import { createClient, offeredHostKeys, privateSurface } from './ssh2.ts';

export interface ScannedKey {
  readonly type: string;
  /** `TYPE BASE64`. */
  readonly key: string;
  readonly fingerprint: string;
  /** The line for known_hosts. */
  readonly knownHosts: string;
}

/** What a server shows in one key exchange. */
interface Shown {
  readonly blob: Buffer;
  /** Host key algorithms that it has. */
  readonly offered: readonly string[];
}

const typeOf = (algorithm: string): string => (algorithm.startsWith('rsa-sha2-') ? 'ssh-rsa' : algorithm);

/**
 * Asks for each type of key that the server has, by a connection of its own, which may take `ms`. Throws an
 * Error when one fails: the keys would not be all.
 */
export async function scanHostKeys(host: string, port: number, ms: number): Promise<readonly ScannedKey[]> {
  const first = await exchange(host, port, ms, PLAIN_HOST_KEYS);
  const blobs = [first.blob];
  const types = new Set(PLAIN_HOST_KEYS.filter((name) => first.offered.includes(name)).map(typeOf));
  types.delete(blobType(first.blob) ?? '');
  for (const type of types) {
    const algorithms = PLAIN_HOST_KEYS.filter((name) => typeOf(name) === type);
    blobs.push((await exchange(host, port, ms, algorithms)).blob);
  }
  return blobs.map((blob) => {
    const type = blobType(blob) ?? '';
    return {
      type,
      key: `${type} ${blob.toString('base64')}`,
      fingerprint: fingerprint(blob),
      knownHosts: knownHostsLine(host, port, blob),
    };
  });
}

/** One key exchange, up to the signature by the host key; nobody logs in. */
function exchange(host: string, port: number, ms: number, hostKeys: readonly string[]): Promise<Shown> {
  const { promise, resolve, reject } = Promise.withResolvers<Shown>();
  const client = createClient();
  const socket = net.connect({ host, port });
  const timer = setTimeout(() => fail(new Error(`no answer within ${ms / 1000} s`)), ms);
  const end = (): void => {
    clearTimeout(timer);
    socket.destroy();
  };
  const fail = (error: Error): void => {
    reject(error);
    end();
  };
  let shown: Shown | undefined;
  client.on('error', fail);
  socket.on('close', () => fail(new Error('the server closed the connection')));
  // The signature has been verified.
  client.once('handshake', () => {
    resolve(shown!);
    end();
  });
  const { ciphers, macs, kex } = offer(undefined, { types: new Set(), certificates: false });
  client.connect({
    sock: socket,
    username: 'keyscan',
    readyTimeout: 0,
    algorithms: {
      cipher: [...ciphers],
      hmac: [...macs],
      kex: [...kex],
      serverHostKey: [...hostKeys],
      compress: ['none'],
    } as never,
    hostVerifier: (blob: Buffer): boolean => {
      shown = { blob: Buffer.from(blob), offered: offeredHostKeys(protocol) };
      return true;
    },
  });
  const protocol = privateSurface(client);
  return promise;
}
