/** A certificate that somebody else renews: files that are read again and again, since a mounted Secret changes in place. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { fileReader } from '../config/read-file.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Generation } from './certificate.ts';
import { endOf } from './certificate.ts';

/** Reads and judges both files. Throws TLS_INVALID. */
export function readTlsFiles(folder: string, now: number): Generation {
  const read = fileReader('TLS_INVALID');
  const [certificate, key] = ['tls.crt', 'tls.key'].map((name) => read(join(folder, name)).toString('utf8'));
  const wrong = (message: string, cause?: unknown): NetproxyError =>
    new NetproxyError('TLS_INVALID', `${folder}: ${message}`, { cause });
  let belongs: boolean;
  try {
    belongs = new X509Certificate(certificate!).checkPrivateKey(createPrivateKey(key!));
  } catch (error) {
    // OpenSSL's words name no part of a key.
    throw wrong(`tls.crt or tls.key cannot be read: ${(error as Error).message}`, error);
  }
  if (!belongs) throw wrong('tls.key is not the key of tls.crt');
  const end = endOf(certificate!) ?? 0;
  if (end < now) throw wrong(`the certificate ended at ${new Date(end).toISOString()}`);
  return { authority: '', certificate: certificate!, key: key! };
}
