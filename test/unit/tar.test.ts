import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { tar } from '../../src/cli/tar.ts';

test('tar unpacks what was archived, whatever the length', () => {
  for (const length of [0, 1, 511, 512, 513, 100_000]) {
    const content = Buffer.alloc(length, 'x');
    const archive = tar(
      [
        { name: 'a/b.txt', content },
        { name: 'a/c.txt', content: Buffer.from('c') },
      ],
      1_700_000_000,
    );
    const run = (...args: string[]): Buffer => {
      const { status, stdout, stderr } = spawnSync('tar', args, { input: archive, maxBuffer: 1e6 });
      assert.deepEqual([status, stderr.toString()], [0, '']);
      return stdout;
    };
    assert.deepEqual(run('-xO', 'a/b.txt'), content);
    assert.match(run('-tv', '--utc').toString(), /^-rw------- 0\/0 +\d+ 2023-11-14 22:13 a\/b\.txt$/m);
  }
  assert.throws(() => tar([{ name: 'ä', content: Buffer.alloc(0) }], 0), RangeError);
});
