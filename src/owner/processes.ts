/** What /proc tells of a process. Everything may be gone, or forbidden, at any time: then it is undefined. */
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** Names that a process goes by: its own, and that of its executable where that can be seen. */
export function processNames(pid: number, proc = '/proc'): readonly string[] | undefined {
  const own = attempt(() => readFileSync(`${proc}/${pid}/comm`, 'utf8').replace(/\n$/, ''));
  // A file that was replaced, as by an update, has a mark behind its name (proc_pid_exe(5)).
  const file = attempt(() => basename(readlinkSync(`${proc}/${pid}/exe`).replace(/ \(deleted\)$/, '')));
  const names = [own, file].filter((name) => name !== undefined);
  return names.length === 0 ? undefined : [...new Set(names)];
}

/** The effective group of a process: what its new sockets belong to. */
export function processGroup(pid: number, proc = '/proc'): number | undefined {
  const status = attempt(() => readFileSync(`${proc}/${pid}/status`, 'utf8'));
  const gid = /^Gid:\t\d+\t(\d+)\t/m.exec(status ?? '')?.[1];
  return gid === undefined ? undefined : Number(gid);
}

/** The control group of a process, by the lines of /proc/PID/cgroup (cgroups(7)). */
export function processControlGroup(pid: number, proc = '/proc'): string | undefined {
  const text = attempt(() => readFileSync(`${proc}/${pid}/cgroup`, 'utf8'));
  return text === undefined ? undefined : controlGroupOf(text);
}

/** The path in version 2; where only version 1 divides, the longest of its paths. */
export function controlGroupOf(text: string): string | undefined {
  const lines = [...text.matchAll(/^(\d+):[^:]*:(\/.*)$/gm)];
  const unified = lines.find(([, number]) => number === '0')?.[2];
  if (unified !== undefined && unified !== '/') return unified;
  const paths = lines.map(([, , path]) => path ?? '');
  return paths.reduce<string | undefined>(
    (longest, path) => (longest === undefined || path.length > longest.length ? path : longest),
    unified,
  );
}

/** The number of the container whose control group has this path, in the innermost part that has one. */
export function containerOf(path: string): string | undefined {
  return path
    .split('/')
    .toReversed()
    .map((part) => /(?:^|[^0-9a-f])([0-9a-f]{64})(?:[^0-9a-f]|$)/.exec(part)?.[1])
    .find((id) => id !== undefined);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
