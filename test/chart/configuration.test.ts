/** Every netproxy.yaml that the chart writes is one that netproxy takes. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cases, CHART, dependents, objects, template } from './helm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const charts = dependents();
const folder = mkdtempSync(join(tmpdir(), 'netproxy-chart-'));
let key = '';
let hostKey = '';

before(() => {
  const file = join(folder, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
  key = readFileSync(file, 'utf8');
  hostKey = readFileSync(`${file}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
});
after(() => {
  charts.close();
  rmSync(folder, { recursive: true });
});

interface Env {
  readonly name: string;
  readonly value?: string;
}

/** The variables of every container called netproxy in `value`, wherever it is. */
function environments(value: unknown): Env[][] {
  if (typeof value !== 'object' || value === null) return [];
  const container = value as { name?: unknown; env?: Env[] };
  const own = container.name === 'netproxy' && Array.isArray(container.env) ? [container.env] : [];
  return [...own, ...Object.values(value).flatMap(environments)];
}

/** Each once: the pods of a case mostly have the same. */
function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

/** Runs `netproxy check` on what a pod would have in /etc/netproxy. */
function check(
  data: Record<string, string>,
  variables: readonly Env[],
  secrets: Record<string, string>,
): void {
  for (const place of ['config', 'keys']) {
    rmSync(join(folder, place), { recursive: true, force: true });
    mkdirSync(join(folder, place));
  }
  const here = (text: string): string => text.replaceAll('/etc/netproxy', folder);
  // The host keys of the cases are nobody's, but keys they are: any will do here.
  for (const [name, text] of Object.entries(data))
    writeFileSync(join(folder, 'config', name), here(text).replaceAll(/ssh-ed25519 \S+/g, hostKey));
  for (const [name, text] of Object.entries(secrets))
    writeFileSync(join(folder, 'keys', name), text, { mode: 0o400 });
  const env = Object.fromEntries(variables.map(({ name, value = '' }) => [name, here(value)]));
  const done = spawnSync(process.execPath, ['dist/main.js', 'check'], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '', ...env },
  });
  assert.equal(done.status, 0, `${data['netproxy.yaml']}\n${done.stdout}${done.stderr}`);
}

for (const { name, chart, args } of cases(charts.folder)) {
  const all = objects(template(chart, ...args));
  const maps = all.filter(({ kind, data }) => kind === 'ConfigMap' && data?.['netproxy.yaml'] !== undefined);
  if (maps.length === 0) continue;
  test(`${name}: ${maps.length} of them`, () => {
    const fragments = all
      .flatMap(({ data }) => Object.values(data ?? {}))
      .filter((text) => /^place: /m.test(text));
    const sets = environments([...all, ...fragments.flatMap((text) => objects(text))]);
    assert.ok(sets.length > 0);
    for (const { data = {}, metadata } of maps) {
      const secret = all.find(
        (each) =>
          each.kind === 'Secret' &&
          each.metadata.name === metadata.name &&
          each.metadata.namespace === metadata.namespace,
      );
      const secrets = Object.fromEntries(
        Object.entries(secret?.data ?? {}).map(([file, text]) => [
          file,
          Buffer.from(text, 'base64').toString(),
        ]),
      );
      for (const env of distinct(sets)) check(data, env, { ...secrets, key });
    }
  });
}

test('a key and its certificate are the files that ssh-keygen wrote, whatever white space was lost', () => {
  const file = join(folder, 'authority');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
  execFileSync('ssh-keygen', ['-q', '-s', file, '-I', 'deploy', '-n', 'deploy', join(folder, 'key.pub')]);
  const certificate = readFileSync(join(folder, 'key-cert.pub'), 'utf8');
  writeFileSync(join(folder, 'trimmed'), key.trim());
  const all = objects(
    template(
      CHART,
      ...[
        '--values',
        join(import.meta.dirname, 'cases/injector.yaml'),
        '--set',
        'profiles.default.existingSecret=',
      ],
      ...['--set-file', `profiles.default.privateKey=${join(folder, 'trimmed')}`],
      ...['--set-file', `profiles.default.certificate=${join(folder, 'key-cert.pub')}`],
    ),
  );
  const secret = all.find(
    ({ kind, metadata }) => kind === 'Secret' && metadata.name === 'web-netproxy-default',
  );
  const plain = (name: string): string => Buffer.from(secret?.data?.[name] ?? '', 'base64').toString();
  assert.equal(plain('key'), key);
  assert.equal(plain('key-cert.pub'), certificate);
  const map = all.find(({ data }) => data?.['netproxy.yaml'] !== undefined);
  const config = [{ name: 'NETPROXY_CONFIG', value: '/etc/netproxy/config/netproxy.yaml' }];
  check(map?.data ?? {}, config, { key: plain('key'), 'key-cert.pub': plain('key-cert.pub') });
});
