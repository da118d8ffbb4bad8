// Definitions of the kinds of objects that operators bring with them (CustomResourceDefinitions), as their modules have
// them: tests hold what the chart gives these operators against them.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export const CERT_MANAGER = 'github.com/cert-manager/cert-manager';

/** Only the kinds that the chart has, or that these need. Sums are those of Go's checksum database. */
const modules = (certManager) => [
  {
    ...{ path: CERT_MANAGER, ...certManager },
    // Without the templates around them that those of its chart have.
    folder: 'deploy/crds',
    files: ['certificaterequests', 'certificates', 'clusterissuers', 'issuers'].map((kind) => `cert-manager.io_${kind}.yaml`),
  },
  {
    path: 'github.com/prometheus-operator/prometheus-operator',
    version: 'v0.85.0',
    sum: 'h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=',
    folder: 'example/prometheus-operator-crd',
    files: ['podmonitors', 'prometheusrules', 'servicemonitors'].map((kind) => `monitoring.coreos.com_${kind}.yaml`),
  },
];
const DOWNLOAD_DEADLINE_MS = 300_000;

/**
 * Fetches them below `cache` unless they are there, by what goFor gives, cert-manager's of `{ version, sum }`. Gives the
 * folder with a file for each kind.
 */
export function fetchDefinitions({ go, env }, cache, certManager) {
  const wanted = modules(certManager);
  const target = join(cache, `definitions-${createHash('sha256').update(JSON.stringify(wanted)).digest('hex').slice(0, 16)}`);
  if (existsSync(target)) return target;
  console.log(`kubernetes: fetching the definitions of ${wanted.map(({ path, version }) => `${path} ${version}`).join(' and ')}`);
  const work = `${target}.${process.pid}`;
  const fresh = join(work, 'definitions');
  try {
    mkdirSync(fresh, { recursive: true });
    for (const module of wanted) {
      // A cache of modules of its own, so that nothing but the definitions is kept.
      const source = join(download(go, { ...env, GOMODCACHE: join(work, 'modules') }, work, module), module.folder);
      for (const file of module.files) copyFileSync(join(source, file), join(fresh, file));
    }
    // Another one may have been as fast.
    if (!existsSync(target)) renameSync(fresh, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return target;
}

/** Gives the folder of the module's files. */
function download(go, env, cwd, { path, version, sum }) {
  const done = spawnSync(go, ['mod', 'download', '-json', `${path}@${version}`], {
    ...{ cwd, env, encoding: 'utf8', timeout: DOWNLOAD_DEADLINE_MS },
  });
  const told = done.stdout?.startsWith('{') ? JSON.parse(done.stdout) : {};
  if (done.status !== 0) throw new Error(`fetching ${path} ${version}: ${told.Error ?? done.error?.message ?? done.stderr}`);
  if (told.Sum !== sum) throw new Error(`${path} ${version} has the sum ${told.Sum}; it should be ${sum}`);
  return told.Dir;
}
