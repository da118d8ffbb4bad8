/** helm, and charts to run it on. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = import.meta.dirname;

/** That of the set-up, else that of the PATH. */
export const HELM = existsSync(join(root, '.ci/runtime/bin/helm'))
  ? join(root, '.ci/runtime/bin/helm')
  : 'helm';

/** The chart. */
export const CHART = join(root, 'charts/netproxy');
export const GOLDEN = join(here, 'golden');

/** As `helm template` and a cluster have them; what is in them is for the test to know. */
export interface KubernetesObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly data?: Record<string, string>;
  readonly [key: string]: unknown;
}

/** Runs helm with nothing of the user's own. Neither cluster nor network is asked for. */
export function helm(...args: string[]): { code: number; stdout: string; stderr: string } {
  const env = { PATH: process.env['PATH'] ?? '', HOME: tmpdir() };
  const done = spawnSync(HELM, args, { cwd: root, encoding: 'utf8', env });
  if (done.error !== undefined) throw done.error;
  return { code: done.status ?? -1, stdout: done.stdout, stderr: done.stderr };
}

/** What the release "web" in the namespace "egress" is; throws what helm says. */
export function template(chart: string, ...args: string[]): string {
  const done = helm('template', 'web', chart, '--namespace', 'egress', ...args);
  if (done.code !== 0) throw new Error(done.stderr);
  return done.stdout;
}

export function objects(text: string): KubernetesObject[] {
  return parseAllDocuments(text, { version: '1.1' }).flatMap((document) => {
    const value = document.toJS() as KubernetesObject | null;
    return value === null ? [] : [value];
  });
}

export interface Case {
  readonly name: string;
  readonly chart: string;
  readonly args: readonly string[];
}

/** The matrix: the chart as it comes, with each file of cases, and as a dependency; `folder` has the charts of the last. */
export function cases(folder: string): Case[] {
  const files = globSync('cases/*.yaml', { cwd: here }).sort();
  const older = ['--kube-version', '1.28.9'];
  return [
    { name: 'defaults', chart: CHART, args: [] },
    ...files.map((file) => {
      const path = join(here, file);
      const asked = /^# helm: (.*)$/m.exec(readFileSync(path, 'utf8'))?.[1]?.split(' ') ?? [];
      return { name: basename(file, '.yaml'), chart: CHART, args: ['--values', path, ...asked] };
    }),
    { name: 'example', chart: join(folder, 'example'), args: [] },
    { name: 'either-native', chart: join(folder, 'either'), args: [] },
    { name: 'either-classic', chart: join(folder, 'either'), args: older },
  ];
}

/**
 * Makes the charts that have netproxy as a dependency, in a folder of their own: "example", and "either", whose pod
 * runs on older clusters too.
 */
export function dependents(): { readonly folder: string; close(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'netproxy-charts-'));
  cpSync(CHART, join(folder, 'netproxy'), { recursive: true });
  for (const name of ['example', 'either']) {
    const chart = join(folder, name);
    cpSync(join(here, 'example'), chart, { recursive: true });
    const either = join(chart, 'either.yaml.tpl');
    if (name === 'either') {
      for (const file of globSync('templates/*', { cwd: chart })) rmSync(join(chart, file));
      renameSync(either, join(chart, 'templates/deployment.yaml'));
    }
    execFileSync(HELM, ['dependency', 'build', chart, '--skip-refresh'], {
      stdio: 'pipe',
      env: { PATH: process.env['PATH'] ?? '', HOME: folder },
    });
  }
  return { folder, close: () => rmSync(folder, { recursive: true, force: true }) };
}
