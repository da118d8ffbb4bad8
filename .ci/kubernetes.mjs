// node .ci/with-runtime.mjs --root .ci/kubernetes.mjs
// Makes ready what the tests of test/kubernetes need: the programs of a cluster, which are compiled once from their
// modules, those that Debian has, the images, and definitions of what operators bring. test/kubernetes/lab.ts starts them.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync, renameSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codename, run, unpackPackages } from './debian.mjs';
import { fetchDefinitions } from './definitions.mjs';
import { cache } from './engines.mjs';
import { goFor } from './go.mjs';
import { digest, root, stampDir } from './setup.mjs';
// Builds the images as well.
import './engine.mjs';

const sources = join(root, 'test/kubernetes/kube');
const folder = join(cache, 'kubernetes');
/** Names by which the one program of Kubernetes is started. */
const NAMES = ['kube-apiserver', 'kube-controller-manager', 'kube-proxy', 'kube-scheduler', 'kubelet'];
/** Sets of programs that are kept, each of some hundred megabytes. */
const KEPT = 2;
/** A compiler takes a gigabyte, and the machine has other work. */
const NICE = ['nice', '-n', '15'];

mkdirSync(folder, { recursive: true });
const tools = goFor(join(sources, 'go.mod'), folder);
const programs = buildPrograms(tools);
const definitions = fetchDefinitions(tools, folder);
const etcd = debian('etcd', 'trixie', ['etcd-server'], 'usr/bin/etcd', ['--version']);
const plugins = debian('cni', codename(), ['containernetworking-plugins'], 'usr/lib/cni/bridge', []);
// The tests read it: test/kubernetes/lab.ts.
const record = { programs, etcd: join(etcd, 'usr/bin/etcd'), plugins: join(plugins, 'usr/lib/cni'), definitions, folder };
writeFileSync(join(stampDir, 'kubernetes.json'), JSON.stringify(record));

/** Gives the folder with a file or link for each program. */
function buildPrograms({ go, env, version }) {
  const target = join(folder, `programs-${digest([sources], version).slice(0, 16)}`);
  if (existsSync(target)) return target;
  const started = Date.now();
  const release = /^\tk8s\.io\/kubernetes (\S+)$/m.exec(readFileSync(join(sources, 'go.mod'), 'utf8'))[1];
  console.log(`kubernetes: compiling ${release} by Go ${version}, which takes some ten minutes the first time`);
  const fresh = `${target}.${process.pid}`;
  // Without a version of its own the API server refuses to serve what it knows.
  const stamp = ['component-base/version', 'client-go/pkg/version'].map((name) => `-X k8s.io/${name}.gitVersion=${release}`);
  const build = [go, 'build', '-trimpath', '-ldflags', `-s -w ${stamp.join(' ')}`, '-o', `${fresh}/`, './...'];
  try {
    mkdirSync(fresh);
    const done = spawnSync(NICE[0], [...NICE.slice(1), ...build], { cwd: sources, env, stdio: ['ignore', 'inherit', 'inherit'] });
    if (done.status !== 0) throw new Error(`${build.join(' ')} ended with ${done.signal ?? done.error?.message ?? done.status}`);
    for (const name of NAMES) symlinkSync('kube', join(fresh, name));
    // Another one may have been as fast.
    if (!existsSync(target)) renameSync(fresh, target);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  console.log(`kubernetes: compiled in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  const age = (name) => statSync(join(folder, name)).mtimeMs;
  const old = readdirSync(folder).filter((name) => /^programs-\w+$/.test(name)).sort((a, b) => age(b) - age(a));
  for (const name of old.slice(KEPT)) rmSync(join(folder, name), { recursive: true, force: true });
  return target;
}

/** Unpacks packages of Debian unless they are there, and gives their root. */
function debian(name, suite, packages, program, words) {
  const target = join(folder, name);
  if (existsSync(join(target, program))) return target;
  console.log(`kubernetes: fetching ${packages.join(' ')} of ${suite}`);
  unpackPackages(suite, packages, target, (fresh) => void run('env', ['-u', 'CNI_COMMAND', join(fresh, program), ...words]));
  return target;
}
