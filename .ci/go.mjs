// Go for tests that build programs of others from their modules: nothing of netproxy is written in it. A machine
// without Go gets that of a later Debian, and a Go that is too old fetches the right one as a module.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run, unpackPackages } from './debian.mjs';

/** The first release whose Go fetches other versions of itself, and the package. */
const SUITE = 'trixie';
const PACKAGE = 'golang-1.24';
/** Go fetches other versions of itself since then. */
const SWITCHES = [1, 21];
/** Of a Go that is fetched. */
const FETCHED = 'go1.26.7';

/**
 * `{ go, env, version }` for a module that asks for a version of Go: the machine's when it is new enough. What Go
 * downloads and compiles stays below `cache`.
 */
export function goFor(moduleFile, cache) {
  const wanted = /^go (\S+)$/m.exec(readFileSync(moduleFile, 'utf8'))[1];
  const env = {
    ...process.env,
    CGO_ENABLED: '0',
    GOCACHE: join(cache, 'go-build'),
    GOMODCACHE: join(cache, 'go-mod'),
    // What is read only can't be removed by hand.
    GOFLAGS: '-modcacherw',
    GOTOOLCHAIN: 'local',
    GOWORK: 'off',
  };
  const found = installed(cache).map((go) => ({ go, version: versionOf(go) }));
  const enough = found.find(({ version }) => atLeast(version, wanted));
  if (enough !== undefined) return { ...enough, env };
  let switching = found.find(({ version }) => atLeast(version, SWITCHES.join('.')))?.go;
  if (switching === undefined) {
    console.log(`go: no Go on this machine: fetching ${PACKAGE} of ${SUITE}`);
    const root = unpacked(cache);
    unpackPackages(SUITE, [`${PACKAGE}-go`, `${PACKAGE}-src`], root, (fresh) => void run(binary(fresh), ['version']));
    switching = binary(root);
  }
  console.log(`go: the machine has no Go ${wanted} or newer: fetching ${FETCHED}`);
  return { go: switching, version: FETCHED.slice(2), env: { ...env, GOTOOLCHAIN: FETCHED } };
}

const unpacked = (cache) => join(cache, PACKAGE);
const binary = (root) => join(root, 'usr/lib', PACKAGE.replace('golang', 'go'), 'bin/go');

/** Every Go that is there: of the PATH, where its own installer puts it, Debian's, and one fetched before. */
function installed(cache) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/go/bin'];
  const debian = existsSync('/usr/lib') ? readdirSync('/usr/lib').filter((name) => /^go-\d/.test(name)) : [];
  for (const name of debian) folders.push(join('/usr/lib', name, 'bin'));
  return [...folders.filter((folder) => folder !== '').map((folder) => join(folder, 'go')), binary(unpacked(cache))].filter(existsSync);
}

/** Of the Go itself, whatever it would fetch. */
function versionOf(go) {
  return /\bgo(\d+(?:\.\d+)*)/.exec(run('env', ['GOTOOLCHAIN=local', go, 'version'], '/'))?.[1] ?? '0';
}

function atLeast(version, wanted) {
  const [have, want] = [version, wanted].map((text) => text.split('.').map(Number));
  for (let at = 0; at < want.length; at++) {
    if ((have[at] ?? 0) !== want[at]) return (have[at] ?? 0) > want[at];
  }
  return true;
}
