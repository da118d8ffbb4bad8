import { closeSync, openSync, readSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import { CONFIG_FILE_MAX_BYTES } from '../core/limits.ts';

/** Gives the bytes of a file, or throws a NetproxyError whose message and hint an operator can act on. */
export type ReadFile = (path: string) => Buffer;

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'Check the path; in a container, check that the file is mounted there.',
  ENOTDIR: 'Check the path; a part of it is a file.',
  EACCES: 'Give the user that netproxy runs as the right to read it, also to enter each directory above.',
  EPERM: 'Give the user that netproxy runs as the right to read it.',
  EISDIR:
    'Give a file. Docker makes an empty directory when the host path of a bind mount does not exist: check "volumes".',
  ELOOP: 'Check the symbolic links.',
};

/** The file reader of the process: bounded, so that a path such as /dev/zero ends in an error. */
export function fileReader(code: ErrorCode): ReadFile {
  return (path) => {
    try {
      return readBounded(path, code);
    } catch (error) {
      if (error instanceof NetproxyError) throw error;
      const errno = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      const hint = HINTS[errno];
      throw new NetproxyError(code, `${path}: ${errno}, ${words(error as Error)}`, {
        cause: error,
        ...(hint === undefined ? {} : { hint }),
      });
    }
  };
}

function readBounded(path: string, code: ErrorCode): Buffer {
  const descriptor = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(CONFIG_FILE_MAX_BYTES + 1);
    let length = 0;
    while (length < buffer.length) {
      const count = readSync(descriptor, buffer, length, buffer.length - length, null);
      if (count === 0) break;
      length += count;
    }
    if (length > CONFIG_FILE_MAX_BYTES) {
      throw new NetproxyError(code, `${path}: larger than ${CONFIG_FILE_MAX_BYTES} bytes`, {
        hint: 'Check that the path is the right one.',
      });
    }
    const content = Buffer.from(buffer.subarray(0, length));
    // What was read may be a private key: no second copy stays behind in freed memory.
    buffer.fill(0, 0, length);
    return content;
  } finally {
    closeSync(descriptor);
  }
}

/** Node's message is "ERRNO: words, open 'path'"; the words alone are wanted. */
function words(error: Error): string {
  return error.message.replace(/^[A-Z0-9]+: /, '').replace(/, \w+( '.*')?$/s, '');
}
