/** Private keys in files. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import { fingerprint } from './fingerprint.ts';
import { parseKey } from './ssh2.ts';
import type { ParsedKey } from './ssh2.ts';
import { wireMpint, wireString } from './wire.ts';

/** A key that netproxy logs in with. */
export interface Identity {
  /** The file, or what the agent calls it. */
  readonly name: string;
  readonly type: string;
  readonly fingerprint: string;
  /** The public key as it is sent. */
  readonly blob: Buffer;
  /** A whole signature (RFC 4253 section 6.6). `algorithm` is the type, or rsa-sha2-* for RSA. */
  sign(data: Buffer, algorithm: string): Promise<Buffer>;
}

/** Hash by signature algorithm (RFC 5656, RFC 8332); Ed25519 hashes by itself (RFC 8709). */
const HASHES: Readonly<Record<string, string | null>> = {
  'ssh-ed25519': null,
  'ecdsa-sha2-nistp256': 'sha256',
  'ecdsa-sha2-nistp384': 'sha384',
  'ecdsa-sha2-nistp521': 'sha512',
  'rsa-sha2-256': 'sha256',
  'rsa-sha2-512': 'sha512',
};

/** Curves as JWK (RFC 7518) and as SSH (RFC 5656) name them. */
const CURVES: Readonly<Record<string, string>> = {
  'P-256': 'nistp256',
  'P-384': 'nistp384',
  'P-521': 'nistp521',
};

/** Reads a private key file. Its mode does not matter: mounted secrets are often world-readable. */
export function readIdentity(file: string, ...passphrases: readonly string[]): Identity {
  let contents: Buffer;
  try {
    contents = readFileSync(file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new NetproxyError('KEY_UNREADABLE', `Cannot read the private key ${file}: ${reason}.`, {
      cause: error,
    });
  }
  return loadIdentity(contents, file, ...passphrases);
}

/**
 * Validates the contents of a private key file; `file` is its name in messages. An encrypted key is
 * tried with each passphrase.
 */
export function loadIdentity(
  contents: Buffer | string,
  file: string,
  ...passphrases: readonly string[]
): Identity {
  if (publicKeyOf(contents) !== undefined) {
    throw new NetproxyError('KEY_INVALID', `${file} holds a public key; give the private one.`);
  }
  const parse = /-----BEGIN ((RSA|EC|ENCRYPTED) )?PRIVATE KEY-----/.test(String(contents))
    ? parsePem
    : parseOther;
  let key = parse(contents);
  const encrypted = key === 'encrypted';
  if (encrypted && passphrases.length === 0) {
    throw new NetproxyError(
      'KEY_PASSPHRASE_MISSING',
      `The private key ${file} is encrypted, and no passphrase was given.`,
    );
  }
  if (encrypted) {
    for (const passphrase of passphrases) {
      key = parse(contents, passphrase);
      if (!(key instanceof Error) || /unsupported/i.test(key.message)) break;
    }
  }
  if (key === 'encrypted' || (encrypted && key instanceof Error && !/unsupported/i.test(key.message))) {
    const which = passphrases.length === 1 ? 'The passphrase does not open' : 'No passphrase opens';
    throw new NetproxyError('KEY_PASSPHRASE_WRONG', `${which} the private key ${file}.`);
  }
  if (key instanceof Error) throw invalid(file, key.message, key);
  const blob = publicBlob(key);
  if (blob === undefined) {
    throw invalid(file, `keys of the type ${key.asymmetricKeyType ?? 'unknown'} are not supported`);
  }
  const { type, bytes } = blob;
  return {
    name: file,
    type,
    blob: bytes,
    fingerprint: fingerprint(bytes),
    sign: (data, algorithm) => Promise.resolve(signWith(key, data, algorithm)),
  };
}

/** The public key of a `.pub` file: type, base64, comment. Undefined when it is something else. */
export function publicKeyOf(contents: Buffer | string): Buffer | undefined {
  const [type, encoded] = String(contents)
    .trim()
    .split(/[ \t]+/);
  if (type === undefined || encoded === undefined) return undefined;
  const blob = Buffer.from(encoded, 'base64');
  return blob.subarray(0, 4 + type.length).equals(wireString(type)) ? blob : undefined;
}

function invalid(file: string, why: string, cause?: Error): NetproxyError {
  return new NetproxyError('KEY_INVALID', `${file} is not a private key that can be used: ${why}.`, {
    cause,
  });
}

/** PKCS #1, SEC 1 and PKCS #8 are OpenSSL's own forms. */
function parsePem(contents: Buffer | string, passphrase?: string): KeyObject | Error | 'encrypted' {
  if (passphrase === undefined && /ENCRYPTED/.test(String(contents))) return 'encrypted';
  try {
    return createPrivateKey({ key: contents, format: 'pem', passphrase });
  } catch (error) {
    // OpenSSL's words may not be repeated whole: they have no place for people.
    return new Error('OpenSSL cannot read it', { cause: error });
  }
}

/** OpenSSH's own form, which ssh2 reads; it returns most errors and throws some. */
function parseOther(contents: Buffer | string, passphrase?: string): KeyObject | Error | 'encrypted' {
  let key: ParsedKey | Error;
  try {
    key = parseKey(contents, passphrase);
    if (!(key instanceof Error) && key.isPrivateKey()) return createPrivateKey(key.getPrivatePEM());
  } catch (error) {
    key = error instanceof Error ? error : new Error(String(error));
  }
  if (!(key instanceof Error)) return new Error('it holds no private key');
  return passphrase === undefined && /no passphrase given/i.test(key.message) ? 'encrypted' : key;
}

/** The public half of a key in the form of SSH (RFC 4253 section 6.6, RFC 5656, RFC 8709). */
function publicBlob(key: KeyObject): { readonly type: string; readonly bytes: Buffer } | undefined {
  const { kty, crv, x, y, n, e } = createPublicKey(key).export({ format: 'jwk' });
  const bytes = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');
  if (kty === 'OKP' && crv === 'Ed25519') {
    const type = 'ssh-ed25519';
    return { type, bytes: Buffer.concat([wireString(type), wireString(bytes(x))]) };
  }
  const curve = kty === 'EC' ? CURVES[crv ?? ''] : undefined;
  if (curve !== undefined) {
    const type = `ecdsa-sha2-${curve}`;
    const point = Buffer.concat([Buffer.of(4), bytes(x), bytes(y)]);
    return { type, bytes: Buffer.concat([wireString(type), wireString(curve), wireString(point)]) };
  }
  if (kty === 'RSA') {
    const type = 'ssh-rsa';
    return { type, bytes: Buffer.concat([wireString(type), wireMpint(bytes(e)), wireMpint(bytes(n))]) };
  }
  return undefined;
}

function signWith(key: KeyObject, data: Buffer, algorithm: string): Buffer {
  const hash = HASHES[algorithm];
  if (hash === undefined) throw new Error(`signatures by ${algorithm} are not supported`);
  const signature = sign(hash, data, { key, dsaEncoding: 'ieee-p1363' });
  if (!algorithm.startsWith('ecdsa-')) return Buffer.concat([wireString(algorithm), wireString(signature)]);
  const half = signature.length / 2;
  const pair = [wireMpint(signature.subarray(0, half)), wireMpint(signature.subarray(half))];
  return Buffer.concat([wireString(algorithm), wireString(Buffer.concat(pair))]);
}
