/** OpenSSH certificates (PROTOCOL.certkeys): a public key, what it may be used for, and a signature. */
import { blobType } from './fingerprint.ts';
import { WireReader, wireString } from './wire.ts';

export interface Certificate {
  /** Such as ssh-ed25519-cert-v01@openssh.com. */
  readonly type: string;
  /** Type of the key within, such as ssh-ed25519. */
  readonly keyType: string;
  /** The certificate as it is sent. */
  readonly blob: Buffer;
  /** The public key that it certifies, as it would be sent without a certificate. */
  readonly keyBlob: Buffer;
  readonly purpose: 'user' | 'host';
  readonly serial: bigint;
  /** What the authority calls it; for people. */
  readonly keyId: string;
  /** Users or hosts that it is for. */
  readonly principals: readonly string[];
  /** Milliseconds since 1970, the first valid and the first no longer valid; Infinity: for ever. */
  readonly validAfter: number;
  readonly validBefore: number;
  readonly criticalOptions: ReadonlySet<string>;
  readonly extensions: ReadonlySet<string>;
  /** Public key of the authority. */
  readonly authority: Buffer;
  /** What the authority signed, and its signature. */
  readonly signed: Buffer;
  readonly signature: Buffer;
}

/** Number of strings of the public key, by type of key; they follow the nonce. */
const KEY_FIELDS: ReadonlyMap<string, number> = new Map([
  ['ssh-ed25519', 1],
  ['ssh-rsa', 2],
  ['ecdsa-sha2-nistp256', 2],
  ['ecdsa-sha2-nistp384', 2],
  ['ecdsa-sha2-nistp521', 2],
  ['sk-ssh-ed25519@openssh.com', 2],
  ['sk-ecdsa-sha2-nistp256@openssh.com', 3],
]);

/** Ends the names of types and algorithms with a certificate. */
export const CERTIFICATE_SUFFIX = '-cert-v01@openssh.com';
const PURPOSES: ReadonlyMap<number, Certificate['purpose']> = new Map([
  [1, 'user'],
  [2, 'host'],
]);
/** "for ever". */
const UINT64_MAX = 0xffff_ffff_ffff_ffffn;

/** The name of the certificate that goes with an algorithm or type of key. */
export function certificateAlgorithm(algorithm: string): string {
  return algorithm.endsWith('@openssh.com')
    ? algorithm.replace(/@openssh\.com$/, CERTIFICATE_SUFFIX)
    : `${algorithm}${CERTIFICATE_SUFFIX}`;
}

/** Whether a blob is that of a certificate, judged by its type. */
export function isCertificate(blob: Buffer): boolean {
  return blobType(blob)?.endsWith(CERTIFICATE_SUFFIX) === true;
}

/** Parses a blob. Throws an Error that says what is wrong with it. The signature is not verified. */
export function parseCertificate(blob: Buffer): Certificate {
  const reader = new WireReader(blob);
  try {
    const type = reader.text();
    const keyType = [...KEY_FIELDS.keys()].find((candidate) => certificateAlgorithm(candidate) === type);
    if (keyType === undefined) throw new Error(`certificates of the type "${type}" are not known`);
    reader.string();
    const start = reader.offset;
    for (let left = KEY_FIELDS.get(keyType)!; left > 0; left--) reader.string();
    const key = blob.subarray(start, reader.offset);
    const serial = reader.uint64();
    const purpose = PURPOSES.get(reader.uint32());
    if (purpose === undefined) throw new Error('the certificate is neither for users nor for hosts');
    const keyId = reader.text();
    const principals = strings(reader.string()).map(String);
    const validAfter = time(reader.uint64());
    const validBefore = time(reader.uint64());
    const criticalOptions = names(reader.string());
    const extensions = names(reader.string());
    reader.string();
    const authority = reader.string();
    const signed = blob.subarray(0, reader.offset);
    const signature = reader.string();
    if (!reader.ended) throw new Error('data follows the certificate');
    const keyBlob = Buffer.concat([wireString(keyType), key]);
    return {
      ...{ type, keyType, blob, keyBlob, purpose, serial, keyId, principals, validAfter, validBefore },
      ...{ criticalOptions, extensions, authority, signed, signature },
    };
  } catch (error) {
    if (error instanceof RangeError) throw new Error('the certificate is cut short', { cause: error });
    throw error;
  }
}

/** The key that a host or user shows: of a certificate that can be read, the key within. */
export function plainKey(blob: Buffer): Buffer {
  try {
    return isCertificate(blob) ? parseCertificate(blob).keyBlob : blob;
  } catch {
    return blob;
  }
}

/** Parses the line of a `-cert.pub` file. Throws an Error that says what is wrong with it. */
export function parseCertificateFile(text: string): Certificate {
  const [type, encoded] = text.trim().split(/[ \t]+/);
  const blob = Buffer.from(encoded ?? '', 'base64');
  if (type === undefined || encoded === undefined || blobType(blob) !== type || !isCertificate(blob)) {
    throw new Error('the file does not hold an OpenSSH certificate, as "ssh-keygen -s" writes it');
  }
  return parseCertificate(blob);
}

/** Within its validity at `now`, before it, or after it. */
export function validity(
  certificate: Pick<Certificate, 'validAfter' | 'validBefore'>,
  now: number,
): 'valid' | 'early' | 'expired' {
  if (now < certificate.validAfter) return 'early';
  return now >= certificate.validBefore ? 'expired' : 'valid';
}

/** A time in messages: UTC, to the second. */
export function timeText(time: number): string {
  // Beyond what a Date can hold.
  if (time > 8.64e15) return 'for ever';
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}

function time(seconds: bigint): number {
  return seconds === UINT64_MAX ? Infinity : Number(seconds) * 1000;
}

function strings(list: Buffer): Buffer[] {
  const reader = new WireReader(list);
  const found: Buffer[] = [];
  while (!reader.ended) found.push(reader.string());
  return found;
}

/** The names of a list of names and data. */
function names(list: Buffer): Set<string> {
  return new Set(
    strings(list)
      .filter((_, index) => index % 2 === 0)
      .map(String),
  );
}
