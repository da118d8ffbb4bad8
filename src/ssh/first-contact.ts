/**
 * Trust on first use: a known_hosts file of our own, into which the key of a server goes when nothing is
 * known of it. It is read at each connection, so that a line taken out counts at once.
 */
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { NetproxyError } from '../core/errors.ts';
import type { WantedHostKeys } from './algorithms.ts';
import { hostKeyError } from './host-key-error.ts';
import type { HostKeyVerdict } from './host-trust.ts';
import { KnownHosts, knownHostsLine } from './known-hosts.ts';

/** Only we have to read it; whoever may write it decides whom we trust. */
const MODE = 0o600;

export class FirstContact {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  wanted(host: string, port: number): WantedHostKeys {
    try {
      return this.#read().wanted(host, port);
    } catch {
      // `check` tells.
      return { types: new Set(), certificates: false };
    }
  }

  check(host: string, port: number, blob: Buffer): HostKeyVerdict {
    const verdict = this.#read().check(host, port, blob);
    return verdict.result === 'unknown' ? { result: 'first' } : verdict;
  }

  /** Throws when a key that is not known yet could not be remembered, or the file is not a known_hosts file. */
  judge(host: string, port: number): void {
    const { types, certificates } = this.#read().wanted(host, port);
    if (types.size > 0 || certificates) return;
    try {
      accessSync(dirname(this.#target()), constants.W_OK | constants.X_OK);
    } catch (error) {
      throw this.#unwritable(error);
    }
  }

  remember(host: string, port: number, blob: Buffer): void {
    // Another connection may have been first in the meantime, and have met another key.
    const known = this.#read().check(host, port, blob);
    if (known.result === 'ok') return;
    const error = known.result === 'unknown' ? undefined : hostKeyError(known, host, port, blob);
    if (error !== undefined) throw error;
    try {
      const target = this.#target();
      const before = this.#text();
      const gap = before === '' || before.endsWith('\n') ? '' : '\n';
      replace(target, `${before}${gap}${knownHostsLine(host, port, blob)}\n`);
    } catch (cause) {
      throw this.#unwritable(cause);
    }
  }

  #read(): KnownHosts {
    try {
      return KnownHosts.parse(this.#text(), this.#file);
    } catch (error) {
      if (error instanceof NetproxyError) throw error;
      const message = `Cannot read the tofu file ${this.#file}: ${reasonOf(error)}.`;
      throw new NetproxyError('KNOWN_HOSTS_UNREADABLE', message, { cause: error });
    }
  }

  /** Empty while there is no file. */
  #text(): string {
    try {
      return readFileSync(this.#file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    }
  }

  /** The file itself where the path is a link to it. */
  #target(): string {
    try {
      return realpathSync(this.#file);
    } catch {
      return this.#file;
    }
  }

  #unwritable(cause: unknown): NetproxyError {
    const message = `The host key of a first contact cannot be written to ${this.#file}: ${reasonOf(cause)}.`;
    return new NetproxyError('TOFU_UNWRITABLE', message, { cause });
  }
}

/** The old text or the new one is there at any moment, also when we are killed. */
function replace(file: string, text: string): void {
  const draft = `${file}.${process.pid}.new`;
  // One that was killed may have left it; in a container every run has the same process number.
  rmSync(draft, { force: true });
  const descriptor = openSync(draft, 'wx', MODE);
  try {
    try {
      writeSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
