// node .ci/with-runtime.mjs --root .ci/test.mjs [GROUP...]
// Runs the checks and the test groups, or only the groups named, and ends with one summary in the
// form of node's own test runner. With CI=true a skipped test is a failure, since a machine that
// cannot run a test would otherwise pass it.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { compose } from 'node:stream';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { root } from './setup.mjs';

const MINUTE_MS = 60_000;

/**
 * Files that may be run a second time in all, alone: on a shared machine that stands still for seconds a test with
 * real servers and clocks can fail without a fault of ours. More of them are no accident.
 */
const AGAIN_MAX = 2;

const deadline = join(import.meta.dirname, 'deadline.mjs');

/**
 * In the order of the time they take. `atOnce`: files that run side by side; most of a test of namespaces is
 * waiting. Those of `alone` measure times or fill the processors, and have the machine for themselves. `again`: a file
 * that fails may be run a second time. `beside` is a program that runs until its input ends; what it prints when it is ready, the tests get by `variable`.
 */
const GROUPS = {
  unit: { atOnce: true },
  house: { atOnce: true },
  chart: { atOnce: true },
  native: { atOnce: 2 },
  ssh: { atOnce: 2, again: true, alone: ['backpressure', 'manners', 'transfer'] },
  netns: { atOnce: 2, again: true, alone: ['life', 'soak', 'transfer', 'datagrams'] },
  engine: { atOnce: 2, again: true, prepare: 'engine.mjs' },
  kubernetes: {
    atOnce: 2,
    again: true,
    // Webhooks of releases are asked about the pods of all, and the kinds of operators are there for all.
    alone: ['many', 'injector', 'release', 'operators', 'cert-manager'],
    prepare: 'kubernetes.mjs',
    beside: { program: 'test/kubernetes/lab.ts', variable: 'NETPROXY_TEST_CLUSTER', unless: 'KUBECONFIG' },
  },
};

const folders = ['src', 'test', 'bench'].filter((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }).length > 0);
const nativeSources = globSync('{native,bench,test}/**/*.{c,cc,h}', { cwd: root }).filter((file) => !/\/build(-[^/]*)?\//.test(file));

const CHECKS = [
  ['lint', 'oxlint', ['--type-aware', '--deny-warnings', ...folders]],
  ['types of src', 'tsc', ['-p', 'src', '--noEmit']],
  ['types of tests', 'tsc', ['-p', 'test']],
  ['format', 'oxfmt', ['--check', ...folders]],
  ...(nativeSources.length > 0 ? [['format of native code', 'clang-format', ['--dry-run', '-Werror', ...nativeSources]]] : []),
];

const named = process.argv.slice(2);
const unknown = named.filter((name) => name !== 'checks' && !(name in GROUPS));
if (unknown.length > 0) {
  console.error(`There is no test group "${unknown.join('", "')}"; there are: checks ${Object.keys(GROUPS).join(' ')}.`);
  process.exit(64);
}
const wanted = (name) => named.length === 0 || named.includes(name);

const started = performance.now();
const failedChecks = wanted('checks') ? runChecks() : [];

/** Paths of the files that were run a second time, and passed then. */
const passedLater = [];
let againLeft = AGAIN_MAX;
const total = { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 };
for await (const text of compose(events, new spec())) process.stdout.write(text);

if (passedLater.length > 0) console.error(`Failed once, and passed when run again, alone: ${passedLater.join(', ')}. Their failures stand above.`);
if (failedChecks.length > 0) console.error(`Failed checks: ${failedChecks.join(', ')}.`);
const skips = process.env.CI === 'true' ? total.skipped + total.todo : 0;
if (skips > 0) console.error(`${skips} skipped or unwritten tests, which CI takes for failures.`);
process.exitCode = failedChecks.length + total.failed + total.cancelled + skips > 0 ? 1 : 0;

function runChecks() {
  return CHECKS.filter(([name, tool, args]) => {
    const before = performance.now();
    const done = spawnSync(tool, args, { cwd: root, encoding: 'utf8' });
    const good = done.status === 0;
    console.log(`${good ? '✔' : '✖'} ${name} (${((performance.now() - before) / 1000).toFixed(1)} s)`);
    if (!good) console.log(done.error?.message ?? `${done.stdout}${done.stderr}`);
    return !good;
  }).map(([name]) => name);
}

/** The events of all groups as if of one run, with the sum of their summaries at the end. */
async function* events() {
  for (const [name, { atOnce, alone = [], again = false, prepare, beside }] of Object.entries(GROUPS)) {
    if (!wanted(name)) continue;
    const files = globSync(`test/${name}/**/*.test.ts`, { cwd: root }).sort().map((file) => join(root, file));
    if (files.length === 0) continue;
    if (prepare !== undefined && spawnSync(process.execPath, [join(import.meta.dirname, prepare)], { cwd: root, stdio: 'inherit' }).status !== 0) {
      failedChecks.push(`what the tests of ${name} need`);
      continue;
    }
    const end = beside === undefined ? undefined : await startBeside(beside);
    if (end === false) {
      failedChecks.push(`what runs beside the tests of ${name}`);
      continue;
    }
    const isAlone = (file) => alone.includes(basename(file, '.test.ts'));
    const failed = [];
    yield* runFiles(files.filter((file) => !isAlone(file)), atOnce, failed);
    yield* runFiles(files.filter(isAlone), 1, failed);
    if (again) yield* runAgain(failed);
    await end?.();
  }
  const lines = { tests: total.tests, suites: total.suites, pass: total.passed, fail: total.failed, cancelled: total.cancelled, skipped: total.skipped, todo: total.todo, duration_ms: performance.now() - started };
  for (const [key, value] of Object.entries(lines)) {
    yield { type: 'test:diagnostic', data: { nesting: 0, message: `${key} ${value}`, level: 'info' } };
  }
}

/** Starts a program that tests rest on. Gives what ends it, or false when it did not start. */
async function startBeside({ program, variable, unless }) {
  if (process.env[unless] || process.env[variable]) return undefined;
  const before = performance.now();
  const child = spawn(process.execPath, [join(root, program)], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
  const [told] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (!(told instanceof Buffer)) return false;
  console.log(`${program}: ready in ${((performance.now() - before) / 1000).toFixed(1)} s`);
  process.env[variable] = told.toString();
  return async () => {
    delete process.env[variable];
    const ended = once(child, 'exit');
    child.stdin.end();
    await ended;
  };
}

/** Adds what was counted to `total`, and to `failed` each file that failed with its counts. */
async function* runFiles(files, concurrency, failed) {
  if (files.length === 0) return;
  const counted = new Map();
  const bad = new Set();
  for await (const event of run({ files, concurrency, timeout: 5 * MINUTE_MS, execArgv: ['--import', deadline] })) {
    const { type, data } = event;
    // The file itself is a test as well, whose name it is.
    if (type === 'test:complete' && !data.details.passed && data.name === data.file) bad.add(data.file);
    if (type === 'test:summary') {
      if (data.file === undefined) {
        for (const key of Object.keys(total)) total[key] += data.counts[key] ?? 0;
      } else {
        counted.set(data.file, data.counts);
        if (!data.success) bad.add(data.file);
      }
    } else if (!isOwnSummary(event)) yield event;
  }
  for (const file of bad) failed.push({ file, counts: counted.get(file) ?? { tests: 1, failed: 1 } });
}

/** Runs each of `failed` once more, unless they are too many; what it counts then is what counts. */
async function* runAgain(failed) {
  if (failed.length === 0 || failed.length > againLeft) return;
  againLeft -= failed.length;
  for (const { file, counts } of failed) {
    for (const key of Object.keys(total)) total[key] -= counts[key] ?? 0;
    const path = relative(root, file);
    console.log(`${path} failed; it is run again, alone`);
    const still = [];
    yield* runFiles([file], 1, still);
    if (still.length === 0) passedLater.push(path);
  }
}

/** The lines that end each run: "tests 12", "pass 12" and so on, which have no file. */
function isOwnSummary(event) {
  return event.type === 'test:diagnostic' && event.data.nesting === 0 && /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/.test(event.data.message);
}
