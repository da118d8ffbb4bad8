import { readlinkSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname, resolve, sep } from 'node:path';
import { WATCH_LINKS_MAX, WATCH_QUIET_MS, WATCH_UNREST_MS } from '../core/limits.ts';

/**
 * Tells when files may have changed. Watched are the directories, since a new file is mostly renamed
 * over the old one; those of all symbolic links on the way, since Kubernetes exchanges a volume's
 * contents by turning its link `..data`; and the files, since one that is mounted alone has no
 * directory here. Whether something did change is for the listener to find out.
 */
export class FileWatch {
  readonly #changed: () => void;
  readonly #failed: (error: Error) => void;
  #watchers: FSWatcher[] = [];
  /** What is watched, to know whether it is still the right thing. */
  #places = '';
  #timer: NodeJS.Timeout | undefined;
  #restless = 0;

  /** `failed` is told of what cannot be watched, once for each call of `set`. */
  constructor(changed: () => void, failed: (error: Error) => void) {
    this.#changed = changed;
    this.#failed = failed;
  }

  /** Watches exactly these. When that is something new, a change in the meantime is not missed: `changed` is called. */
  set(files: Iterable<string>): void {
    const places = placesOf(files);
    const text = JSON.stringify([...places].map(([directory, names]) => [directory, [...names]]));
    if (text === this.#places) return;
    const first = this.#places === '';
    this.#places = text;
    const before = this.#watchers;
    this.#watchers = [];
    let error: Error | undefined;
    for (const [directory, names] of places) {
      error = this.#watch(directory, (name) => name === null || names.has(name)) ?? error;
      for (const name of names) this.#watch(resolve(directory, name), () => true);
    }
    for (const watcher of before) watcher.close();
    if (error !== undefined) this.#failed(error);
    if (!first) this.#later();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const watcher of this.#watchers.splice(0)) watcher.close();
    this.#places = '';
  }

  #watch(path: string, concerns: (name: string | null) => boolean): Error | undefined {
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => {
        if (concerns(name)) this.#later();
      });
      // A directory that was removed; the next reading finds what is there now.
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  /** Writers need a moment; one that never rests is not waited for. */
  #later(): void {
    const now = performance.now();
    if (this.#timer === undefined) this.#restless = now + WATCH_UNREST_MS;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#changed();
      },
      Math.max(0, Math.min(WATCH_QUIET_MS, this.#restless - now)),
    );
  }
}

/** Names to watch by directory: of each file, and of each symbolic link on the way to it. */
function placesOf(files: Iterable<string>): Map<string, Set<string>> {
  const places = new Map<string, Set<string>>();
  for (const file of new Set(files)) {
    const waiting = resolve(file).split(sep).filter(Boolean);
    let at: string = sep;
    for (let links = 0; waiting.length > 0;) {
      const name = waiting.shift()!;
      const path = resolve(at, name);
      const link = linkAt(path);
      if (link !== undefined || waiting.length === 0) {
        const names = places.get(at) ?? new Set<string>();
        places.set(at, names.add(name));
      }
      if (link === undefined) {
        at = path;
        continue;
      }
      if (++links > WATCH_LINKS_MAX) break;
      const target = resolve(dirname(path), link);
      waiting.unshift(...target.split(sep).filter(Boolean));
      at = sep;
    }
  }
  return places;
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
