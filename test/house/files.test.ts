import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { lineAt, repository, sourceFiles } from './repository.ts';
import type { SourceFile } from './repository.ts';

/** Lines above which a file fails, and above which it is listed as one to think about. */
const LINES_MAX = 500;
const LINES_LONG = 300;

const CODE = /\.(ts|mjs|cc|h|sh)$/;
const code = (): SourceFile[] =>
  sourceFiles(['src', 'native', 'test', 'bench', 'demo', '.ci']).filter(({ path }) => CODE.test(path));

describe('the length of files', () => {
  const lines = ({ text }: SourceFile): number => text.split('\n').length - 1;
  const longer = (files: readonly SourceFile[], limit: number): string[] =>
    files.filter((file) => lines(file) > limit).map((file) => `${file.path}: ${lines(file)} lines`);

  test(`is at most ${LINES_MAX} lines`, (t) => {
    for (const line of longer(code(), LINES_LONG)) t.diagnostic(`long: ${line}`);
    assert.deepEqual(longer(code(), LINES_MAX), []);
  });

  test('is found when it is too much', () => {
    assert.equal(longer([{ path: 'a.ts', text: 'x\n'.repeat(LINES_MAX + 1) }], LINES_MAX).length, 1);
    assert.equal(longer([{ path: 'a.ts', text: 'x\n'.repeat(LINES_MAX) }], LINES_MAX).length, 0);
  });
});

interface Ban {
  readonly pattern: RegExp;
  /** Paths that it holds for. */
  readonly where: RegExp;
  readonly why: string;
  /** What it must find, spelt in pieces so that this file passes. */
  readonly planted: string;
}

const everywhere = /^(?!package-lock\.json$)/;
const BANS: readonly Ban[] = [
  {
    pattern: /\b(TODO|FIXME|XXX|HACK)\b/,
    where: everywhere,
    why: 'what is left to do belongs in an issue, where somebody finds it',
    planted: ['// TO', 'DO: later'].join(''),
  },
  {
    pattern:
      /\b(test|it|describe|suite)\.(only|skip|todo)\(|\bt\.(skip|todo)\(\)|[{,]\s*(only|skip|todo): true/,
    where: /^(test|bench)\/.*\.ts$/,
    why: 'a test that does not run proves nothing, and one that runs alone hides the rest',
    planted: ['test.on', "ly('x', () => {});"].join(''),
  },
  {
    pattern: /(^|[\s'"`(=:])\/(work|home\/[a-z]+|Users)\//m,
    where: everywhere,
    why: "a path of one developer's machine means nothing elsewhere",
    planted: ["cd '/wo", "rk/main'"].join(''),
  },
  {
    pattern:
      /\b(registry\.(npmjs\.org|yarnpkg\.com)|npm\.pkg\.github\.com|[\w.-]*artifactory[\w.-]*|[\w.-]+\.internal:\d+)\b/,
    where: everywhere,
    why: 'which registry serves a package is the business of the machine that installs it',
    planted: ['https://registry.npm', 'js.org/x'].join(''),
  },
  {
    pattern: /"resolved":/,
    where: /^package-lock\.json$/,
    why: 'the lock file pins versions and hashes; a host in it would bind every machine to one registry',
    planted: ['"resol', 'ved": "https://h/x.tgz"'].join(''),
  },
  {
    pattern: /\bconsole\.\w+\(/,
    where: /^src\//,
    why: 'stdout is the output of the command and stderr the log: use Io.print and Log',
    planted: ['console', ".log('x');"].join(''),
  },
  {
    pattern: /@ts-(ignore|nocheck)\b/,
    where: /^(src|test|bench|demo)\/.*\.ts$/,
    why: 'the types are to be believed; @ts-expect-error at least fails once it is needless',
    planted: ['// @ts-ig', 'nore'].join(''),
  },
];

/** Each place where `file` has what a ban forbids. */
function banned(file: SourceFile): string[] {
  return BANS.filter(({ where }) => where.test(file.path)).flatMap(({ pattern, why }) =>
    [
      ...file.text.matchAll(
        new RegExp(pattern, pattern.flags.includes('g') ? pattern.flags : `${pattern.flags}g`),
      ),
    ].map((match) => `${file.path}:${lineAt(file.text, match.index)}: ${match[0].trim()}: ${why}`),
  );
}

describe('forbidden content', () => {
  test('is nowhere', () => {
    // Everything git knows but this very list of what is forbidden.
    const files = sourceFiles().filter(({ path }) => path !== 'test/house/files.test.ts');
    assert.deepEqual(files.flatMap(banned), []);
  });

  for (const { pattern, where, planted } of BANS) {
    test(`is found where it is planted: ${pattern.source.slice(0, 40)}`, () => {
      const path = ['package-lock.json', 'src/a.ts', 'test/a.ts'].find((candidate) => where.test(candidate));
      assert.ok(path !== undefined);
      assert.equal(banned({ path, text: `first\n${planted}\n` }).length, 1);
      assert.equal(banned({ path, text: 'plain\n' }).length, 0);
    });
  }
});

/** Lines of a function or class that needs no comment. */
const SELF_EVIDENT_LINES = 5;

/** Exported functions and classes of `file` that no comment stands above. */
function undocumented({ path, text }: SourceFile): string[] {
  const withHeader = text.replace(/^#!.*\n/, '').startsWith('/**');
  const lines = text.split('\n');
  return lines.flatMap((line, index) => {
    const name = /^export (?:async )?(?:abstract )?(?:function\*?|class) (\w+)/.exec(line)?.[1];
    const above = lines[index - 1]?.trim() ?? '';
    // A file with one exported thing may say at its head what that is.
    if (name === undefined || above.endsWith('*/')) return [];
    // When it is this short, the name and the types say it all.
    if (lines.slice(index, index + SELF_EVIDENT_LINES).includes('}')) return [];
    const alone = lines.filter((other) => /^export (async )?(function|class) /.test(other)).length === 1;
    return withHeader && alone
      ? []
      : [`${path}:${index + 1}: ${name} has no comment that says what it promises`];
  });
}

describe('exported functions and classes of src', () => {
  test('say what they promise', () => {
    assert.deepEqual(
      sourceFiles(['src'])
        .filter(({ path }) => path.endsWith('.ts'))
        .flatMap(undocumented),
      [],
    );
  });

  test('are found when they do not', () => {
    const found = (text: string): number => undocumented({ path: 'src/a.ts', text }).length;
    const long = (head: string): string => `${head} {\n${'  x;\n'.repeat(SELF_EVIDENT_LINES)}}\n`;
    assert.equal(found(long('export function a(): void')), 1);
    assert.equal(found(long('export class A')), 1);
    assert.equal(found('export function a(): void {\n  b();\n}\n'), 0);
    assert.equal(found(`/** Why. */\n${long('export function a(): void')}`), 0);
    assert.equal(found(`/** The file. */\nimport x;\n${long('export async function a()')}`), 0);
    assert.equal(
      found(`/** The file. */\nimport x;\n${long('export class B')}${long('export function a()')}`),
      2,
    );
  });
});

describe('dependencies', () => {
  const SECTIONS = ['dependencies', 'devDependencies', 'optionalDependencies', 'overrides'] as const;
  const loose = (manifest: Partial<Record<string, unknown>>): string[] =>
    SECTIONS.flatMap((section) =>
      Object.entries((manifest[section] ?? {}) as Record<string, unknown>)
        .filter(([, version]) => typeof version !== 'string' || !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
        .map(([name, version]) => `${section}: ${name} ${String(version)}`),
    );

  test('are pinned exactly', () => {
    const manifest = JSON.parse(readFileSync(new URL('package.json', repository), 'utf8')) as Record<
      string,
      unknown
    >;
    assert.deepEqual(loose(manifest), []);
  });

  test('are found when they are not', () => {
    for (const version of ['^1.0.0', '~1.0.0', '1.x', '*', 'latest', '>=1.0.0', 'file:../x']) {
      assert.equal(loose({ dependencies: { a: version } }).length, 1, version);
    }
    assert.equal(loose({ dependencies: { a: '1.2.3', b: '1.0.0-rc.1' } }).length, 0);
  });
});
