import { createHash } from 'node:crypto';

/** The fingerprint of a public key blob, as `ssh-keygen -l` prints it. */
export function fingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** The key type that a public key blob names at its start, or undefined when it is no key. */
export function blobType(blob: Buffer): string | undefined {
  if (blob.length < 4) return undefined;
  const length = blob.readUInt32BE(0);
  return length === 0 || length > 64 || blob.length <= 4 + length
    ? undefined
    : blob.toString('latin1', 4, 4 + length);
}
