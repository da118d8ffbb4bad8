import assert from 'node:assert/strict';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileReader } from '../../src/config/read-file.ts';
import { ERRORS, NetproxyError, ProblemsError } from '../../src/core/errors.ts';
import type { ErrorCode } from '../../src/core/errors.ts';
import { createLogger, resolveFormat } from '../../src/core/logger.ts';
import { MASK, Secret } from '../../src/core/secret.ts';

test('every row of the table has a stable code, a whole sentence and a fix', () => {
  for (const [code, row] of Object.entries(ERRORS)) {
    assert.match(code, /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
    assert.ok([1, 64, 77, 126, 127].includes(row.exit), code);
    assert.match(row.meaning, /^\S.*\.$/s, code);
    assert.match(row.hint, /^\S.*\S$/s, code);
  }
});

test('an error has the exit code and hint of its row, unless more is known', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const error = new NetproxyError(code, 'm');
    assert.deepEqual([error.exitCode, error.hint], [ERRORS[code].exit, ERRORS[code].hint]);
    assert.equal(new NetproxyError(code, 'm', { hint: 'other' }).hint, 'other');
  }
  assert.equal(new NetproxyError('INTERNAL', 'm', { cause: 7 }).cause, 7);
});

test('problems of one code keep it, and of several are CONFIG_INVALID', () => {
  const one = { code: 'USAGE_INVALID', where: '--a', message: 'm', hint: 'h' } as const;
  const other = { code: 'CREDENTIAL_UNREADABLE', where: '--b', message: 'n' } as const;
  assert.deepEqual(
    [new ProblemsError([one]).code, new ProblemsError([one]).message, new ProblemsError([one]).hint],
    ['USAGE_INVALID', '--a: m', 'h'],
  );
  assert.equal(new ProblemsError([one, one]).code, 'USAGE_INVALID');
  assert.equal(new ProblemsError([one, other]).code, 'CONFIG_INVALID');
  assert.throws(() => new ProblemsError([]), RangeError);
});

describe('reading a file', () => {
  const read = fileReader('CREDENTIAL_UNREADABLE');
  const failure = (path: string): NetproxyError => {
    try {
      read(path);
    } catch (error) {
      assert.ok(error instanceof NetproxyError);
      return error;
    }
    return assert.fail();
  };

  test('gives its bytes', () => {
    assert.deepEqual(read(import.meta.filename), readFileSync(import.meta.filename));
  });

  test('names path, errno and fix when it cannot', () => {
    const absent = failure('/nonexistent/key');
    assert.equal(absent.message, '/nonexistent/key: ENOENT, no such file or directory');
    assert.match(absent.hint, /mounted/);
    const directory = failure('/');
    assert.equal(directory.message, '/: EISDIR, illegal operation on a directory');
    assert.match(directory.hint, /bind mount/);
  });

  test('ends with an error on a file without end', () => {
    assert.match(failure('/dev/zero').message, /larger than/);
  });
});

describe('the log', () => {
  const written = async (
    format: 'human' | 'json',
    write: (log: Awaited<ReturnType<typeof createLogger>>) => void,
  ): Promise<string> => {
    const folder = mkdtempSync(join(tmpdir(), 'netproxy-log-'));
    try {
      const file = join(folder, 'log');
      writeFileSync(file, '');
      write(
        await createLogger({
          level: 'info',
          format,
          terminal: false,
          colour: false,
          descriptor: openSync(file, 'a'),
        }),
      );
      return readFileSync(file, 'utf8');
    } finally {
      rmSync(folder, { recursive: true });
    }
  };

  test('is JSON or for people, by terminal when it may choose', () => {
    assert.equal(resolveFormat('auto', true), 'human');
    assert.equal(resolveFormat('auto', false), 'json');
    assert.equal(resolveFormat('json', true), 'json');
    assert.equal(resolveFormat('human', false), 'human');
  });

  for (const format of ['human', 'json'] as const) {
    test(`as ${format} is written at once, from its level on, without secrets`, async () => {
      const text = await written(format, (log) => {
        log.debug({}, 'below the level');
        log.info(
          {
            passphrase: 'hunter2',
            bastion: { privateKey: 'hunter2' },
            identity: new Secret('hunter2'),
            other: new Secret('hunter2'),
          },
          'first',
        );
        log.error({ error: new NetproxyError('INTERNAL', 'broken') }, 'second');
      });
      assert.ok(!text.includes('hunter2') && !text.includes('below the level'), text);
      assert.ok(text.includes(MASK) && text.includes('first') && text.includes('broken'), text);
      if (format === 'json') {
        const [first] = text.split('\n');
        const line = JSON.parse(first ?? '') as Record<string, unknown>;
        assert.deepEqual([line['level'], line['msg']], ['info', 'first']);
        assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT/);
      }
    });
  }
});
