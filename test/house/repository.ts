/** The files of the repository, as the house tests see them. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** The root of the checkout; ends with a slash. */
export const repository: URL = new URL('../../', import.meta.url);

export interface SourceFile {
  /** Path within the repository. */
  readonly path: string;
  readonly text: string;
}

/** Files that git knows or would add, below any of `folders`; binary files are left out. */
export function sourceFiles(folders: readonly string[] = ['.']): SourceFile[] {
  const listed = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...folders],
    {
      cwd: repository,
      encoding: 'utf8',
    },
  );
  const paths = listed.split('\0').filter((path) => path !== '' && existsSync(new URL(path, repository)));
  return paths
    .map((path) => ({ path, text: readFileSync(new URL(path, repository), 'utf8') }))
    .filter(({ text }) => !text.includes('\0'));
}

/** The line of `text` that `index` is on, counted from 1. */
export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}
