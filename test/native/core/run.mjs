// node test/native/core/run.mjs TARGET [ARGUMENT...]
// Builds the TCP core's test programs with sanitizers, objects cached by content, and runs one:
//
//   scripts       packet scripts and slow oracles (doctest); arguments as doctest's
//   simulation    seeded simulation; arguments: FIRST_SEED [COUNT]
//   fuzz-ip, fuzz-tcp, fuzz-stack   libFuzzer for NETPROXY_FUZZ_SECONDS; arguments as libFuzzer's
//   engine-asan, engine-tsan        the engine thread on a real TUN, in a namespace of its own
//   link-asan, link-tsan            the same with an SSH connection behind it
//   helper-asan                     the helper's loop, with commands and bytes of every kind
//   system-asan                     sockets and their owners, and what gives rights up, in the same way
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = resolve(here, '../../..');
// Outside the work tree, so that a fresh clone finds what another has compiled; for root only, as all of it is.
const cache =
  process.getuid() === 0
    ? join(process.env['NETPROXY_CI_CACHE'] ?? '/var/cache/netproxy-ci', 'native-tests')
    : join(root, 'node_modules/.cache/netproxy/core');
/** Milliseconds after which what nobody has used is removed from the cache. */
const UNUSED_MS = 3 * 24 * 3600 * 1000;

/** Seconds that each fuzzer runs when NETPROXY_FUZZ_SECONDS says nothing. */
const FUZZ_SECONDS = 20;

const COMPILER = 'clang++';
const FLAGS = [
  '-std=c++20',
  '-O1',
  '-g',
  '-D_GNU_SOURCE',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-Wno-missing-field-initializers',
  `-I${join(root, 'native')}`,
  `-I${here}`,
  // OpenSSL as Node has it in headers, and as Debian's OpenSSH has it to link: the same calls in both. For all, so
  // that programs share their objects.
  `-I${resolve(dirname(process.execPath), '../include/node')}`,
];
const ADDRESS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const FUZZER = ['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all'];
const THREAD = ['-fsanitize=thread'];

const local = (...names) => names.map((name) => join(here, name));
const native = (...folders) =>
  folders.flatMap((folder) =>
    globSync(`native/${folder}/*.cc`, { cwd: root })
      .sort()
      .map((file) => join(root, file)),
  );
const core = native('packet', 'tcp');
const thread = [...core, ...native('engine', 'tun')];
const engine = [...thread, ...local('engine.cc')];
const helper = [
  ...native('helper', 'tun').filter((file) => basename(file) !== 'main.cc'),
  join(root, 'native/socket/make.cc'),
  ...local('helper.cc'),
];
const system = [...native('process', 'socket'), join(root, 'native/netlink/diag.cc'), ...local('system.cc')];
const link = [...thread, ...native('ssh'), ...local('link.cc')];
const LIBRARIES = ['-l:libcrypto.so.3'];

const TARGETS = {
  scripts: {
    sources: [
      ...core,
      ...local(
        'main.cc',
        'handshake.cc',
        'data.cc',
        'recovery.cc',
        'closing.cc',
        'limits.cc',
        'queues.cc',
        'reassembly.cc',
        'datagram.cc',
        'ip.cc',
        'credit.cc',
      ),
      join(root, 'native/ssh/credit.cc'),
    ],
    flags: ADDRESS,
  },
  simulation: { sources: [...core, ...local('simulation.cc')], flags: ADDRESS },
  'fuzz-ip': { sources: [...core, ...local('fuzz_ip.cc')], flags: FUZZER, fuzz: true },
  'fuzz-tcp': { sources: [...core, ...local('fuzz_tcp.cc')], flags: FUZZER, fuzz: true },
  'fuzz-stack': { sources: [...core, ...local('fuzz_stack.cc')], flags: FUZZER, fuzz: true },
  'engine-asan': { sources: engine, flags: ADDRESS, namespace: true },
  'engine-tsan': { sources: engine, flags: THREAD, namespace: true },
  'helper-asan': { sources: helper, flags: ADDRESS, namespace: true },
  'system-asan': { sources: system, flags: ADDRESS, namespace: true },
  'link-asan': { sources: link, flags: ADDRESS, libraries: LIBRARIES, namespace: true },
  'link-tsan': { sources: link, flags: THREAD, libraries: LIBRARIES, namespace: true },
};

/** Ends the process with what the command printed when it fails. */
async function run(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const printed = [];
  child.stdout?.on('data', (part) => printed.push(part));
  child.stderr?.on('data', (part) => printed.push(part));
  const [code] = await once(child, 'close');
  if (code === 0) return;
  process.stderr.write(Buffer.concat(printed));
  process.exit(code ?? 1);
}

// Headers count for every object: they are few, and a stale object would be worse than a slow build.
function digest(files, words) {
  const hash = createHash('sha256').update(words.join('\0').replaceAll(root, ''));
  for (const file of files)
    hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex').slice(0, 24);
}

/** The output's place; made by `make(temporary)` when it is not there. Two builds may race: both are right. */
async function cached(name, make) {
  const output = join(cache, name);
  if (existsSync(output)) {
    utimesSync(output, new Date(), new Date());
    return output;
  }
  const temporary = `${output}.${process.pid}`;
  await make(temporary);
  renameSync(temporary, output);
  return output;
}

function prune() {
  mkdirSync(cache, { recursive: true });
  for (const name of readdirSync(cache)) {
    const file = join(cache, name);
    // Another build may have removed it meanwhile.
    const used = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
    if (Date.now() - used > UNUSED_MS) rmSync(file, { force: true });
  }
}

async function build(name, { sources, flags, libraries = [] }) {
  const headers = globSync('{native/**,test/native/core}/*.h', { cwd: root })
    .filter((file) => !file.includes('/build/'))
    .sort()
    .map((file) => join(root, file));
  const version = spawnSync(COMPILER, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0];
  const words = [version, ...FLAGS, ...flags];
  const compile =
    flags === FUZZER ? ['-fsanitize=fuzzer-no-link,address,undefined', '-fno-sanitize-recover=all'] : flags;
  const objects = [];
  const left = [...sources.entries()];
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [index, source] = next;
      const key = digest([source, ...headers], words);
      objects[index] = await cached(`${basename(source, '.cc')}-${key}.o`, (output) =>
        run(COMPILER, [...FLAGS, ...compile, '-c', source, '-o', output]),
      );
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  const key = createHash('sha256')
    .update(objects.map((object) => basename(object)).join('\0'))
    .digest('hex')
    .slice(0, 24);
  return await cached(`${name}-${key}`, (output) =>
    run(COMPILER, [...flags, ...objects, '-pthread', ...libraries, '-o', output]),
  );
}

const [name = '', ...args] = process.argv.slice(2);
const target = TARGETS[name];
if (target === undefined) {
  console.error(`There is no target "${name}"; there are: ${Object.keys(TARGETS).join(' ')}.`);
  process.exit(64);
}
prune();
const program = await build(name, target);
const env = {
  ...process.env,
  UBSAN_OPTIONS: 'print_stacktrace=1',
  TSAN_OPTIONS: 'halt_on_error=1 second_deadlock_stack=1',
};
if (target.fuzz === true) {
  // What libFuzzer finds is kept in a folder of its own: the corpus in the repository grows by hand only.
  const found = mkdtempSync(join(tmpdir(), `netproxy-${name}-`));
  const seconds = process.env['NETPROXY_FUZZ_SECONDS'] ?? FUZZ_SECONDS;
  const corpus = join(here, 'corpus', name);
  await run(
    program,
    [
      `-max_total_time=${seconds}`,
      '-print_final_stats=0',
      '-verbosity=0',
      `-artifact_prefix=${tmpdir()}/netproxy-${name}-`,
      ...args,
      found,
      ...(existsSync(corpus) ? [corpus] : []),
    ],
    { stdio: 'inherit', env },
  );
  rmSync(found, { recursive: true, force: true });
} else if (target.namespace === true) {
  await run('unshare', ['-n', program, ...args], { stdio: 'inherit', env });
} else {
  await run(program, args, { stdio: 'inherit', env });
}
