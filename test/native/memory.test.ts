/** Memory of the start that is given back, in a process that is made for it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const memory = pathToFileURL(join(root, 'src/process/memory.ts')).href;
const natives = pathToFileURL(join(root, 'src/core/native.ts')).href;

test('code of the start and garbage are given back, and the process goes on', () => {
  const program = `
    import { readFileSync } from 'node:fs';
    import { createHash } from 'node:crypto';
    import { loadNative } from '${natives}';
    import { releaseStartMemory } from '${memory}';
    const native = loadNative();
    const kib = (name) => Number(new RegExp('^' + name + ':\\\\s+(\\\\d+)', 'm').exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))[1]);
    let garbage = Array.from({ length: 400_000 }, (_, i) => ({ i }));
    const before = { rss: kib('Rss'), anonymous: kib('Anonymous') };
    garbage = undefined;
    releaseStartMemory(native);
    const after = { rss: kib('Rss'), anonymous: kib('Anonymous') };
    const digest = createHash('sha256').update('still here').digest('hex');
    console.log(JSON.stringify({ before, after, digest, gc: typeof globalThis.gc }));
  `;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  const { before, after, digest, gc } = JSON.parse(run.stdout);
  assert.ok(
    after.anonymous < before.anonymous - 4_000,
    `anonymous KiB ${before.anonymous} -> ${after.anonymous}`,
  );
  const mapped = { before: before.rss - before.anonymous, after: after.rss - after.anonymous };
  assert.ok(mapped.after < mapped.before - 4_000, `mapped KiB ${mapped.before} -> ${mapped.after}`);
  assert.equal(digest, '0f6203d23a9978df793873fe25ffe6147e957c1c259a2a3de123197fe53071d0');
  assert.equal(gc, 'undefined');
});
