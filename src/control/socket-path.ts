/**
 * Where the control socket lies. One netproxy runs in a network namespace, and namespaces of one host may share
 * their file systems, so the name holds the namespace's number. native/health/health.c looks at the same places.
 */
import { readlink } from 'node:fs/promises';

/** The second is writable also in a container with a read-only root file system. */
const FOLDERS: readonly string[] = ['/run/netproxy', '/dev/shm/netproxy'];

/** The paths to listen at, or to ask, in order; `configured` alone when it is given. */
export async function socketPaths(configured: string | undefined): Promise<readonly string[]> {
  if (configured !== undefined) return [configured];
  // "net:[4026531840]", namespaces(7)
  const link = await readlink('/proc/self/ns/net');
  const number = /\d+/.exec(link)?.[0] ?? 'unknown';
  return FOLDERS.map((folder) => `${folder}/${number}.sock`);
}
