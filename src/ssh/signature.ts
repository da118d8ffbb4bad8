/** Signatures of SSH keys, verified (RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709). */
import { createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { WireReader } from './wire.ts';

/** Hash by algorithm; none where the algorithm has its own. */
const HASHES: ReadonlyMap<string, string | null> = new Map([
  ['ssh-ed25519', null],
  ['ecdsa-sha2-nistp256', 'sha256'],
  ['ecdsa-sha2-nistp384', 'sha384'],
  ['ecdsa-sha2-nistp521', 'sha512'],
  ['rsa-sha2-256', 'sha256'],
  ['rsa-sha2-512', 'sha512'],
]);

/** Name (RFC 7518) and bytes of a coordinate. */
const CURVES: ReadonlyMap<string, readonly [string, number]> = new Map([
  ['ecdsa-sha2-nistp256', ['P-256', 32]],
  ['ecdsa-sha2-nistp384', ['P-384', 48]],
  ['ecdsa-sha2-nistp521', ['P-521', 66]],
]);

/** SEC 1, 2.3.3: a point in full, x and y behind it. */
const UNCOMPRESSED = 4;

/**
 * Whether `signature`, as it is sent, is one over `data` by the key `blob`. Throws an Error that says what
 * is wrong when the key or the signature is of a kind that is not accepted, such as RSA with SHA-1.
 */
export function verifySignature(blob: Buffer, data: Buffer, signature: Buffer): boolean {
  const reader = new WireReader(signature);
  const algorithm = reader.text();
  const value = reader.string();
  const { type, key } = publicKey(blob);
  const hash = HASHES.get(algorithm);
  const fits = type === 'ssh-rsa' ? algorithm.startsWith('rsa-') : algorithm === type;
  if (hash === undefined || !fits) {
    throw new Error(`a signature by ${algorithm} with a key of type ${type} is not accepted`);
  }
  const curve = CURVES.get(type);
  if (curve === undefined) return verify(hash, data, key, value);
  const numbers = new WireReader(value);
  const raw = Buffer.concat([padded(numbers.string(), curve[1]), padded(numbers.string(), curve[1])]);
  return verify(hash, data, { key, dsaEncoding: 'ieee-p1363' }, raw);
}

function publicKey(blob: Buffer): { type: string; key: KeyObject } {
  const reader = new WireReader(blob);
  const type = reader.text();
  const key = (jwk: Record<string, string>): { type: string; key: KeyObject } => ({
    type,
    key: createPublicKey({ key: jwk, format: 'jwk' }),
  });
  if (type === 'ssh-ed25519') return key({ kty: 'OKP', crv: 'Ed25519', x: base64url(reader.string()) });
  if (type === 'ssh-rsa') {
    const e = base64url(unsigned(reader.string()));
    return key({ kty: 'RSA', e, n: base64url(unsigned(reader.string())) });
  }
  const curve = CURVES.get(type);
  if (curve === undefined) throw new Error(`keys of the type "${type}" are not supported`);
  reader.string();
  const point = reader.string();
  const [crv, size] = curve;
  if (point[0] !== UNCOMPRESSED || point.length !== 1 + 2 * size) throw new Error('the key is not a point');
  const [x, y] = [point.subarray(1, 1 + size), point.subarray(1 + size)];
  return key({ kty: 'EC', crv, x: base64url(x), y: base64url(y) });
}

/** An mpint in exactly `size` bytes. */
function padded(number: Buffer, size: number): Buffer {
  const bytes = unsigned(number);
  if (bytes.length > size) throw new Error('a number of the signature is too large');
  return Buffer.concat([Buffer.alloc(size - bytes.length), bytes]);
}

/** An mpint (RFC 4251 section 5) without the byte that says it is positive. */
const unsigned = (number: Buffer): Buffer => (number[0] === 0 ? number.subarray(1) : number);

const base64url = (bytes: Buffer): string => bytes.toString('base64url');
