// node .ci/with-runtime.mjs --root .ci/engine.mjs
// Makes ready what the tests of test/engine need: engines, and the images, which are built once for each state of the
// sources and kept as one tar file that the tests load into engines of their own.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BASE_CHANGES, baseTag, baseTar } from './base-image.mjs';
import { cache, engineVersion, fetchEngines } from './engines.mjs';
import { digest, root, runtime, stampDir } from './setup.mjs';

/** What docker/Dockerfile makes, by target. */
export const IMAGES = { netproxy: 'netproxy', anchor: 'netproxy-anchor', relay: 'netproxy-relay' };

const INPUTS = ['docker/Dockerfile', 'docker/ci/seccomp.json', '.dockerignore', 'package.json', 'package-lock.json', '.npmrc', '.ci/build-native.mjs', '.ci/compile-cache.mjs', '.ci/base-image.mjs', 'native', 'src'];
const READY_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 30_000;
/** Tar files of images that are kept, each of some hundred megabytes. */
const KEPT_TARS = 3;
const data = join(cache, 'engines/build');
const exec = '/run/netproxy-engine/build';
const socket = join(exec, 'docker.sock');

const { root: newest, suite, troubles } = fetchEngines();
for (const trouble of troubles) console.log(`engine: not to be had here: ${trouble}`);
console.log(`engine: oldest ${engineVersion('/')} of this machine, newest ${engineVersion(newest)} of ${suite}`);

const base = baseTar(cache, runtime);
const id = digest(INPUTS.map((path) => join(root, path)), basename(base)).slice(0, 16);
const folder = join(cache, 'images');
const tar = join(folder, `${id}.tar`);
if (!existsSync(tar)) {
  const started = Date.now();
  console.log('engine: building images');
  await withBuilder(build);
  console.log(`engine: images built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}
// The tests read it: test/lab/engine.ts.
writeFileSync(join(stampDir, 'engine.json'), JSON.stringify({ id, tar, newest, cache }));

function build() {
  if (docker(['image', 'inspect', baseTag()], 'ignore').status !== 0) {
    need(docker(['import', ...BASE_CHANGES.flatMap((change) => ['--change', change]), base, baseTag()]));
  }
  for (const [target, tag] of Object.entries(IMAGES)) {
    // This engine has no network of its own, so that nothing of the machine's is changed.
    need(docker(['build', '--network', 'host', '-f', 'docker/Dockerfile', '--target', target, '-t', tag, '.']));
  }
  mkdirSync(folder, { recursive: true });
  need(docker(['save', '-o', `${tar}.new`, baseTag(), ...Object.values(IMAGES)]));
  renameSync(`${tar}.new`, tar);
  // Images that a tag has left, and layers that none is made of; what is cached of the last build stays.
  docker(['image', 'prune', '--force']);
  const age = (name) => statSync(join(folder, name)).mtimeMs;
  for (const name of readdirSync(folder).sort((a, b) => age(b) - age(a)).slice(KEPT_TARS)) rmSync(join(folder, name));
}

/** Runs `body` while an engine without networks runs, one at a time on this machine. */
async function withBuilder(body) {
  mkdirSync(data, { recursive: true });
  mkdirSync(exec, { recursive: true });
  // Ends, and lets go, when we do.
  const lock = spawn('flock', [`${data}.lock`, 'sh', '-c', 'echo held; read -r _'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(lock.stdout, 'data');
  const log = `${data}.log`;
  const options = ['--data-root', data, '--exec-root', exec, '-H', `unix://${socket}`, '--pidfile', join(exec, 'pid')];
  const alone = ['--bridge', 'none', '--iptables=false'];
  const command = `exec setpriv --pdeathsig TERM dockerd "$@" >${log} 2>&1`;
  const engine = spawn('sh', ['-c', command, 'sh', ...options, ...alone], { stdio: 'ignore', env: environment('/') });
  try {
    for (const end = Date.now() + READY_DEADLINE_MS; docker(['version'], 'ignore').status !== 0; await sleep(100)) {
      if (engine.exitCode !== null || Date.now() > end) throw new Error(`dockerd is not ready:\n${readFileSync(log, 'utf8').slice(-4000)}`);
    }
    body();
  } finally {
    const ended = engine.exitCode === null && engine.signalCode === null ? once(engine, 'exit') : undefined;
    engine.kill('SIGTERM');
    await Promise.race([ended, sleep(STOP_DEADLINE_MS, undefined, { ref: false })]);
    lock.stdin.end();
  }
}

function environment(engine) {
  const path = `${join(engine, 'usr/sbin')}:${join(engine, 'usr/bin')}:/usr/sbin:/usr/bin:/sbin:/bin`;
  return { ...process.env, PATH: path, DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: join(newest, 'config'), DOCKER_BUILDKIT: '1' };
}

function docker(args, stdio = 'pipe') {
  return spawnSync(join(newest, 'usr/bin/docker'), args, { cwd: root, stdio, encoding: 'utf8', env: environment(newest), maxBuffer: 64 << 20 });
}

function need(done) {
  if (done.status !== 0) throw new Error(`docker ${done.error?.message ?? ''}:\n${done.stdout}${done.stderr}`.slice(-8000));
}
