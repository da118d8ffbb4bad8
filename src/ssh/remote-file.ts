/** Reads a small file of the server's by SFTP, in a session channel of its own: no command is run. */
import type { SFTPWrapper } from 'ssh2';

import { SSH_FILE_DEADLINE_MS } from '../core/limits.ts';
import type { Client } from './ssh2.ts';

/** The file's first `maxBytes` bytes. Rejects when there is no SFTP, no such file, or no answer in time. */
export async function readRemoteFile(client: Client, path: string, maxBytes: number): Promise<Buffer> {
  let sftp: SFTPWrapper | undefined;
  let late: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    late = setTimeout(() => reject(new Error('no answer in time')), SSH_FILE_DEADLINE_MS);
  });
  const read = async (): Promise<Buffer> => {
    sftp = await promise<SFTPWrapper>((done) => void client.sftp(done));
    // Nothing more is to come of it after an end of the connection.
    sftp.on('error', () => {});
    const open = sftp;
    const handle = await promise<Buffer>((done) => open.open(path, 'r', done));
    const buffer = Buffer.alloc(maxBytes);
    const bytes = await promise<number>((done) => open.read(handle, buffer, 0, maxBytes, 0, done));
    return buffer.subarray(0, bytes);
  };
  const reading = read();
  // After the deadline nobody awaits it.
  reading.catch(() => {});
  try {
    return await Promise.race([reading, deadline]);
  } finally {
    clearTimeout(late);
    sftp?.end();
    // A channel that opens later than anybody waits is closed all the same.
    void reading.catch(() => {}).then(() => sftp?.end());
  }
}

function promise<T>(start: (done: (error: Error | null | undefined, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === undefined || error === null) resolve(value);
      else reject(error);
    });
  });
}
