/** The native code for the other processor: compiled for it, with its own headers, and not run. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const native = resolve(import.meta.dirname, '../../native');
const modules = resolve(native, '../node_modules');
/** e_machine of ELF (elf.h): EM_AARCH64. */
const AARCH64 = 183;
const MACHINE_OFFSET = 18;

interface Gyp {
  readonly targets: readonly {
    readonly sources: readonly string[];
    readonly defines?: readonly string[];
    readonly cflags?: readonly string[];
    readonly cflags_cc?: readonly string[];
  }[];
}

const gyp = JSON.parse(readFileSync(join(native, 'binding.gyp'), 'utf8')) as Gyp;
const includes = [
  native,
  join(modules, 'node-addon-api'),
  join(dirname(dirname(process.execPath)), 'include/node'),
];

test('every source of the addon, the health probe and the anchor compiles for arm64', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'netproxy-arm64-'));
  const jobs = gyp.targets.flatMap(({ sources, defines = [], cflags = [], cflags_cc: own = [] }) =>
    sources.map((source) => ({
      source,
      flags: [...defines.map((define) => `-D${define}`), ...cflags, ...own],
    })),
  );
  const compile = async (): Promise<void> => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const { source, flags } = job;
      const object = join(folder, source.replaceAll('/', '-'));
      const compiler = source.endsWith('.c') ? 'aarch64-linux-gnu-gcc' : 'aarch64-linux-gnu-g++';
      // Not optimized: it takes a third of the time, and what the processor lacks is found all the same.
      const words = [
        ...flags,
        '-O0',
        '-Werror',
        '-fPIC',
        ...includes.flatMap((place) => ['-isystem', place]),
      ];
      await promisify(execFile)(compiler, [...words, '-c', join(native, source), '-o', object]);
      assert.equal(readFileSync(object).readUInt16LE(MACHINE_OFFSET), AARCH64, source);
      compiled++;
    }
  };
  let compiled = 0;
  const count = jobs.length;
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, compile));
    assert.equal(compiled, count);
    assert.ok(count > 30);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
