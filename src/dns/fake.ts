/**
 * Addresses that stand for names which only the far end can look up: given to the application in place of the real
 * ones, and turned back into the name when it connects. Within a day no address stands for another name, since
 * programs keep them; the same name has the same address after a restart, if there is a file.
 */
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';

import { addressAt, offsetIn, parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import { DNS_FAKE_MAX, DNS_FAKE_REUSE_MS, DNS_FAKE_SAVE_MS } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { FakeNames } from '../core/names.ts';

export interface FakeOptions {
  /** Networks in canonical text. The same name has the same place in both. */
  readonly range4: string;
  readonly range6: string;
  /** Where they are kept; undefined: nowhere. */
  readonly file: string | undefined;
  readonly log: Log;
  /** Milliseconds since 1970: it has to go on after a restart. */
  now(): number;
}

interface Entry {
  readonly name: string;
  readonly place: number;
  usedAt: number;
}

/** The file: of its ranges, the names with their places and when each was last used. */
interface Saved {
  readonly version: 1;
  readonly range4: string;
  readonly range6: string;
  readonly next: number;
  readonly names: readonly (readonly [name: string, place: number, usedAt: number])[];
}

export class FakeAddresses implements FakeNames {
  readonly #options: FakeOptions;
  readonly #range4: Cidr;
  readonly #range6: Cidr;
  readonly #beginnings: readonly string[];
  /** Places 1 to this: the network's own address and the broadcast's are nobody's. */
  readonly #places: number;
  /** The one used longest ago first. */
  readonly #byName = new Map<string, Entry>();
  readonly #byPlace = new Map<number, Entry>();
  #next: number;
  #saving: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(options: FakeOptions) {
    this.#options = options;
    this.#range4 = parseCidr(options.range4)!;
    this.#range6 = parseCidr(options.range6)!;
    this.#beginnings = [this.#range4, this.#range6].map(beginningOf);
    const hosts = (bits: number): number => (bits >= 24 ? DNS_FAKE_MAX : 2 ** bits - 2);
    this.#places = Math.min(DNS_FAKE_MAX, hosts(32 - this.#range4.prefix), hosts(128 - this.#range6.prefix));
    // Without a memory, a start at random: an address of an earlier life is likely nobody's.
    this.#next = 1 + Math.floor(Math.random() * this.#places);
    if (options.file !== undefined) this.#load(options.file);
  }

  get size(): number {
    return this.#byName.size;
  }

  isFake(address: string): boolean {
    // Asked of every flow: the beginning of the text tells almost always.
    if (!this.#beginnings.some((text) => address.startsWith(text))) return false;
    return offsetIn(this.#range4, address) !== undefined || offsetIn(this.#range6, address) !== undefined;
  }

  nameOf(address: string): string | undefined {
    const place = offsetIn(this.#range4, address) ?? offsetIn(this.#range6, address);
    const entry = place === undefined ? undefined : this.#byPlace.get(place);
    if (entry !== undefined) this.#use(entry);
    return entry?.name;
  }

  /** The addresses that stand for a name; undefined when all are taken by names of the last day. */
  addressesOf(name: string): Readonly<Record<4 | 6, string>> | undefined {
    const entry = this.#byName.get(name) ?? this.#add(name);
    if (entry === undefined) return undefined;
    this.#use(entry);
    return { 4: addressAt(this.#range4, entry.place), 6: addressAt(this.#range6, entry.place) };
  }

  /** Resolves when what is known has been written. */
  async close(): Promise<void> {
    if (this.#saving !== undefined) this.#save();
    await this.#writing;
  }

  #use(entry: Entry): void {
    entry.usedAt = this.#options.now();
    this.#byName.delete(entry.name);
    this.#byName.set(entry.name, entry);
    if (this.#options.file === undefined) return;
    this.#saving ??= setTimeout(() => this.#save(), DNS_FAKE_SAVE_MS).unref();
  }

  #add(name: string): Entry | undefined {
    if (this.#byName.size >= this.#places && !this.#evict()) return undefined;
    while (this.#byPlace.has(this.#next)) this.#next = (this.#next % this.#places) + 1;
    const entry: Entry = { name, place: this.#next, usedAt: 0 };
    this.#next = (this.#next % this.#places) + 1;
    this.#byName.set(name, entry);
    this.#byPlace.set(entry.place, entry);
    return entry;
  }

  /** Forgets the name used longest ago, if that was a day ago. */
  #evict(): boolean {
    for (const entry of this.#byName.values()) {
      if (this.#options.now() - entry.usedAt < DNS_FAKE_REUSE_MS) return false;
      this.#byName.delete(entry.name);
      this.#byPlace.delete(entry.place);
      return true;
    }
    return false;
  }

  #load(file: string): void {
    try {
      const saved = JSON.parse(readFileSync(file, 'utf8')) as Saved;
      const { range4, range6 } = this.#options;
      if (saved.version !== 1 || saved.range4 !== range4 || saved.range6 !== range6) return;
      const whole = (value: unknown): value is number =>
        Number.isInteger(value) && Number(value) >= 1 && Number(value) <= this.#places;
      const entries = saved.names.filter(
        ([name, place, usedAt]) => typeof name === 'string' && whole(place) && typeof usedAt === 'number',
      );
      for (const [name, place, usedAt] of entries.toSorted((a, b) => a[2] - b[2])) {
        if (this.#byPlace.has(place) || this.#byName.has(name)) continue;
        const entry: Entry = { name, place, usedAt };
        this.#byName.set(name, entry);
        this.#byPlace.set(place, entry);
      }
      if (whole(saved.next)) this.#next = saved.next;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      this.#options.log.warn(
        { file, error: (error as Error).message },
        'the file of fake addresses cannot be read; names get new ones',
      );
    }
  }

  #save(): void {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    const { file, range4, range6 } = this.#options;
    if (file === undefined) return;
    const names = [...this.#byName.values()].map(({ name, place, usedAt }) => [name, place, usedAt] as const);
    const saved: Saved = { version: 1, range4, range6, next: this.#next, names };
    this.#writing = this.#write(file, `${JSON.stringify(saved)}\n`, this.#writing);
  }

  async #write(file: string, text: string, before: Promise<void>): Promise<void> {
    await before;
    try {
      // Written beside and renamed: a kill leaves the old one or the new one.
      await writeFile(`${file}.new`, text, { mode: 0o600 });
      await rename(`${file}.new`, file);
      this.#failed = false;
    } catch (error) {
      const { message } = error as Error;
      if (!this.#failed) this.#options.log.warn({ file }, `fake addresses cannot be kept: ${message}`);
      this.#failed = true;
    }
  }
}

/** What the text of every address of a network begins with: its first byte, or first two of IPv6. */
function beginningOf({ family, network, prefix }: Cidr): string {
  if (prefix < (family === 4 ? 8 : 16)) return '';
  return family === 4 ? `${network.split('.')[0]}.` : (network.split(':')[0] ?? '');
}
