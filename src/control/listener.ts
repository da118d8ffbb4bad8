/** Who is behind a control socket, whose file stays when its netproxy was killed. */
import { lstat, rm } from 'node:fs/promises';
import { connect } from 'node:net';

import { CONTROL_SOCKET_LEFT_MS } from '../core/limits.ts';

/** `gone`: there is a file that nobody listens at, or none; `unknown`: we may not ask. */
export type Listener = 'there' | 'gone' | 'unknown';

/** Sends nothing. */
export function listenerAt(path: string): Promise<Listener> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (listener: Listener): void => {
      socket.destroy();
      resolve(listener);
    };
    socket.once('connect', () => end('there'));
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      // unix(7): a socket that is bound and not listened at, as it is after the end of who did.
      end(code === 'ECONNREFUSED' || code === 'ENOENT' ? 'gone' : 'unknown'),
    );
  });
}

/**
 * Whether somebody may listen at `path`. A socket that a killed netproxy left is removed, lest it be taken for that of
 * a later namespace which is given the same number. One that is new may be about to be listened at, and stays.
 */
export async function isListenedAt(path: string, now: number = Date.now()): Promise<boolean> {
  if ((await listenerAt(path)) !== 'gone') return true;
  const file = await lstat(path).catch(() => undefined);
  if (file?.isSocket() === true && now - file.mtimeMs > CONTROL_SOCKET_LEFT_MS)
    await rm(path, { force: true }).catch(() => {});
  return false;
}
