/** Archives of a few small files in the format ustar (POSIX.1-2024, pax, "ustar Interchange Format"). */

export interface ArchivedFile {
  /** At most 99 bytes of ASCII, relative. */
  readonly name: string;
  readonly content: Buffer;
}

const BLOCK = 512;
const MODE = 0o600;
/** Offset and length of the checksum, which counts as blanks while it is computed. */
const CHECKSUM_AT = 148;
const CHECKSUM_LENGTH = 8;

/** The archive; `seconds` since 1970 is the time of all its files. */
export function tar(files: readonly ArchivedFile[], seconds: number): Buffer {
  const parts = files.flatMap(({ name, content }) => {
    const padding = (BLOCK - (content.length % BLOCK)) % BLOCK;
    return [header(name, content.length, seconds), content, Buffer.alloc(padding)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function header(name: string, size: number, seconds: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => {
    block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  };
  if (!/^[\w./-]{1,99}$/.test(name)) throw new RangeError(`not a name for an archive: ${name}`);
  block.write(name, 0, 'latin1');
  octal(MODE, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(seconds, 136, 12);
  block.fill(' ', CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_LENGTH);
  block.write('0', 156, 'latin1');
  block.write('ustar\u000000', 257, 'latin1');
  const sum = block.reduce((all, byte) => all + byte, 0);
  octal(sum, CHECKSUM_AT, CHECKSUM_LENGTH - 1);
  block[CHECKSUM_AT + CHECKSUM_LENGTH - 2] = 0;
  return block;
}
