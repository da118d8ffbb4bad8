/**
 * Where the control socket lies. One netproxy runs in a network namespace, and namespaces of one host may share
 * their file systems, so the name holds the namespace's number. native/health/health.c looks at the same places.
 */
import { readlink } from 'node:fs/promises';

/** The second is writable also in a container with a read-only root file system. */
const FOLDERS: readonly string[] = ['/run/netproxy', '/dev/shm/netproxy'];

/**
 * The paths to listen at, or to ask, in order; `configured` alone when it is given. `number` is that of another
 * network namespace than this process's own.
 */
export async function socketPaths(
  configured: string | undefined,
  number?: string,
): Promise<readonly string[]> {
  if (configured !== undefined) return [configured];
  const name = number ?? (await ownNumber());
  return FOLDERS.map((folder) => `${folder}/${name}.sock`);
}

async function ownNumber(): Promise<string> {
  // "net:[4026531840]", namespaces(7)
  const link = await readlink('/proc/self/ns/net');
  return /\d+/.exec(link)?.[0] ?? 'unknown';
}
