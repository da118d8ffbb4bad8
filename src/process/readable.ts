import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

export interface Reader {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

const READ = 4;
const ENTER = 1;

/**
 * Whether another user may read the file, by the mode of it and of every directory above (path_resolution(7)).
 * Access lists and security modules may say otherwise.
 */
export function isReadableBy(reader: Reader, file: string): boolean {
  try {
    let at = resolve(file);
    if (!has(reader, at, READ)) return false;
    while (at !== dirname(at)) {
      at = dirname(at);
      if (!has(reader, at, ENTER)) return false;
    }
    return true;
  } catch {
    return false;
  }
}

function has({ uid, gid, groups }: Reader, path: string, right: number): boolean {
  const { mode, uid: owner, gid: group } = statSync(path);
  if (uid === owner) return (mode & (right << 6)) !== 0;
  if (gid === group || groups.includes(group)) return (mode & (right << 3)) !== 0;
  return (mode & right) !== 0;
}
