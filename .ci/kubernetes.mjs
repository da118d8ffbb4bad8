// node .ci/with-runtime.mjs --root .ci/kubernetes.mjs
// Makes ready what the tests of test/kubernetes need: the programs of a cluster, which are compiled once from their
// modules, those that Debian has, the images, and definitions of what operators bring. test/kubernetes/lab.ts starts them.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync, renameSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { codename, run, unpackPackages } from './debian.mjs';
import { CERT_MANAGER, fetchDefinitions } from './definitions.mjs';
import { cache } from './engines.mjs';
import { goFor } from './go.mjs';
import { digest, root, stampDir } from './setup.mjs';
// Builds the images as well.
import './engine.mjs';

const sources = join(root, 'test/kubernetes/kube');
const operatorSources = join(root, 'test/kubernetes/cert-manager');
const folder = join(cache, 'kubernetes');
/** Names by which the one program of Kubernetes is started. */
const NAMES = ['kube-apiserver', 'kube-controller-manager', 'kube-proxy', 'kube-scheduler', 'kubelet'];
/** Sets of programs of one kind that are kept; those of Kubernetes are some hundred megabytes each. */
const KEPT = 2;
/** A compiler takes a gigabyte, and the machine has other work. */
const NICE = ['nice', '-n', '15'];

mkdirSync(folder, { recursive: true });
const tools = goFor(join(sources, 'go.mod'), folder);
const kubernetes = required(sources, 'k8s.io/kubernetes').version;
// Without a version of its own the API server refuses to serve what it knows.
const stamp = ['component-base/version', 'client-go/pkg/version'].map((name) => `-X k8s.io/${name}.gitVersion=${kubernetes}`);
const programs = compile('programs', sources, {
  told: `${kubernetes} by Go ${tools.version}, which takes some ten minutes the first time`,
  ...{ flags: stamp, links: NAMES },
});
const certManager = required(operatorSources, CERT_MANAGER);
const operators = compile('operators', operatorSources, {
  told: `cert-manager ${certManager.version}, which takes some three minutes the first time`,
});
const definitions = fetchDefinitions(tools, folder, certManager);
const etcd = debian('etcd', 'trixie', ['etcd-server'], 'usr/bin/etcd', ['--version']);
const plugins = debian('cni', codename(), ['containernetworking-plugins'], 'usr/lib/cni/bridge', []);
// The tests read it: test/kubernetes/lab.ts.
const record = {
  ...{ programs, etcd: join(etcd, 'usr/bin/etcd'), plugins: join(plugins, 'usr/lib/cni') },
  ...{ certManager: join(operators, 'cert-manager'), definitions, folder },
};
writeFileSync(join(stampDir, 'kubernetes.json'), JSON.stringify(record));

/** `{ version, sum }` of a module that that of `sources` requires. */
function required(sources, path) {
  const line = (file, tail) => new RegExp(`^\\s*${RegExp.escape(path)} ${tail}$`, 'm').exec(readFileSync(join(sources, file), 'utf8'))[1];
  const version = line('go.mod', '(v\\S+)');
  return { version, sum: line('go.sum', `${RegExp.escape(version)} (h1:\\S+)`) };
}

/** Gives the folder with a file for each program of a module, and these links to the one of the module's name. */
function compile(name, sources, { told, flags = [], links = [] }) {
  const { go, env, version } = tools;
  const target = join(folder, `${name}-${digest([sources], version).slice(0, 16)}`);
  if (existsSync(target)) return target;
  const started = Date.now();
  console.log(`kubernetes: compiling ${told}`);
  const fresh = `${target}.${process.pid}`;
  const build = [go, 'build', '-trimpath', '-ldflags', ['-s -w', ...flags].join(' '), '-o', `${fresh}/`, './...'];
  try {
    mkdirSync(fresh);
    const done = spawnSync(NICE[0], [...NICE.slice(1), ...build], { cwd: sources, env, stdio: ['ignore', 'inherit', 'inherit'] });
    if (done.status !== 0) throw new Error(`${build.join(' ')} ended with ${done.signal ?? done.error?.message ?? done.status}`);
    for (const link of links) symlinkSync(basename(sources), join(fresh, link));
    // Another one may have been as fast.
    if (!existsSync(target)) renameSync(fresh, target);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  console.log(`kubernetes: compiled in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  const age = (file) => statSync(join(folder, file)).mtimeMs;
  const old = readdirSync(folder).filter((file) => new RegExp(`^${name}-\\w+$`).test(file)).sort((a, b) => age(b) - age(a));
  for (const file of old.slice(KEPT)) rmSync(join(folder, file), { recursive: true, force: true });
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
