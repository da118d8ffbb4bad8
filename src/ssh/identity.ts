import { readFileSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import { fingerprint } from './fingerprint.ts';
import { parseKey } from './ssh2.ts';
import type { ParsedKey } from './ssh2.ts';

/** A private key that netproxy logs in with. */
export interface Identity {
  readonly type: string;
  readonly fingerprint: string;
  readonly key: ParsedKey;
}

/** Reads a private key file. Its mode does not matter: mounted secrets are often world-readable. */
export function readIdentity(file: string, passphrase?: string): Identity {
  let contents: Buffer;
  try {
    contents = readFileSync(file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new NetproxyError('KEY_UNREADABLE', `Cannot read the private key ${file}: ${reason}.`, {
      cause: error,
    });
  }
  return loadIdentity(contents, file, passphrase);
}

/** Validates the contents of a private key file; `file` is its name in messages. */
export function loadIdentity(contents: Buffer | string, file: string, passphrase?: string): Identity {
  const bare = parse(contents);
  const encrypted = bare instanceof Error && /no passphrase given/i.test(bare.message);
  if (encrypted && passphrase === undefined) {
    throw new NetproxyError(
      'KEY_PASSPHRASE_MISSING',
      `The private key ${file} is encrypted, and no passphrase was given.`,
    );
  }
  const key = encrypted ? parse(contents, passphrase) : bare;
  if (key instanceof Error) {
    if (encrypted && !/unsupported/i.test(key.message)) {
      throw new NetproxyError(
        'KEY_PASSPHRASE_WRONG',
        `The passphrase does not open the private key ${file}.`,
        { cause: key },
      );
    }
    throw new NetproxyError('KEY_INVALID', `${file} is not a private key that can be used: ${key.message}.`, {
      cause: key,
    });
  }
  if (!key.isPrivateKey()) {
    throw new NetproxyError('KEY_INVALID', `${file} holds a public key; give the private one.`);
  }
  return { type: key.type, fingerprint: fingerprint(key.getPublicSSH()), key };
}

/** ssh2 returns most errors and throws some. */
function parse(contents: Buffer | string, passphrase?: string): ParsedKey | Error {
  try {
    return parseKey(contents, passphrase);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
