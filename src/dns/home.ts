/** What resolv.conf of this namespace says, read again when it changes. */
import { readFile, stat } from 'node:fs/promises';

import { DNS_RESOLV_CONF_LOOK_MS } from '../core/limits.ts';
import { parseResolvConf } from './own/files.ts';
import type { ResolvConf } from './own/files.ts';

const NONE: ResolvConf = parseResolvConf('');

export class Home {
  readonly #path: string;
  readonly #changed: (conf: ResolvConf) => void;
  #conf: ResolvConf = NONE;
  #stamp = '';
  #lookedAt = -Infinity;
  #looking: Promise<void> | undefined;

  /** `changed` is called after each change, and once for the first reading. */
  constructor(path: string, changed: (conf: ResolvConf) => void) {
    this.#path = path;
    this.#changed = changed;
  }

  /** What was read last. Has it read again in the background, now and then. */
  get conf(): ResolvConf {
    if (performance.now() - this.#lookedAt >= DNS_RESOLV_CONF_LOOK_MS) void this.look();
    return this.#conf;
  }

  /** Reads the file if it is not what it was. A file that is not there has no resolvers. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    this.#lookedAt = performance.now();
    try {
      const { ino, size, mtimeMs } = await stat(this.#path);
      const stamp = `${ino} ${size} ${mtimeMs}`;
      if (stamp === this.#stamp) return;
      this.#conf = parseResolvConf(await readFile(this.#path, 'latin1'));
      this.#stamp = stamp;
    } catch {
      if (this.#stamp === 'none') return;
      this.#conf = NONE;
      this.#stamp = 'none';
    }
    this.#changed(this.#conf);
  }
}
