/** Paths of control groups by their numbers, which are the inodes of their directories (version 2). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { OWNER_CONTROL_GROUPS_MAX } from '../core/limits.ts';

/** Looks for the directory of a group, and remembers all that it saw on the way. */
export class ControlGroups {
  /** Undefined where version 2 is not mounted. */
  readonly #root: string | undefined;
  #known = new Map<bigint, string>();

  /** `mounts` is the text of /proc/self/mountinfo. */
  constructor(mounts: string = readMounts()) {
    this.#root = / (\/\S*) \S+(?: [a-z]+:\d+)* - cgroup2 /.exec(mounts)?.[1];
  }

  /** The path from the root that is visible; undefined when no visible group has the number. */
  pathOf(id: bigint): string | undefined {
    if (this.#root === undefined || id === 0n) return undefined;
    const known = this.#known.get(id);
    // A group that is gone may have left its number to another.
    if (known !== undefined && inodeOf(this.#root + known) === id) return known;
    this.#known = this.#walk(this.#root, id);
    return this.#known.get(id);
  }

  /** Every group seen until `wanted` is found, the outer ones first, at most so many. */
  #walk(root: string, wanted: bigint): Map<bigint, string> {
    const found = new Map<bigint, string>();
    const waiting = [''];
    for (let at = 0; at < waiting.length && at < OWNER_CONTROL_GROUPS_MAX && !found.has(wanted); at++) {
      const path = waiting[at]!;
      const inode = inodeOf(root + path);
      if (inode !== undefined) found.set(inode, path === '' ? '/' : path);
      for (const child of directoriesIn(root + path)) waiting.push(`${path}/${child}`);
    }
    return found;
  }
}

function readMounts(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return '';
  }
}

function inodeOf(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).ino;
  } catch {
    return undefined;
  }
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
