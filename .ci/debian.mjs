// Debian packages of other releases, from the mirror that the machine uses anyway, unpacked beside: what the
// machine has installed stays as it is.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** bookworm's keyring also verifies its backports and the releases after it. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const COMMAND_DEADLINE_MS = 600_000;

/** `bookworm` and the like. */
export function codename() {
  return /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
}

/** Address of the mirror of this release. Needs that `apt-get update` has run once. */
export function mirror() {
  const format = '$(REPO_URI) $(CODENAME) $(COMPONENT)';
  const own = codename();
  for (const line of run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']).split('\n')) {
    const [address, name, component] = line.split(' ');
    if (name === own && component === 'main') return address;
  }
  throw new Error('no mirror of this release is configured');
}

/**
 * Unpacks `packages` of the release `suite` below `target`, whole or not at all. `check` gets the unpacked root and
 * throws when it is of no use. Throws an Error that says what could not be had.
 */
export function unpackPackages(suite, packages, target, check = () => {}) {
  const work = `${target}.new`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, 'lists/partial'), { recursive: true });
  mkdirSync(join(work, 'archives/partial'), { recursive: true });
  try {
    const source = `deb [signed-by=${KEYRING}] ${mirror()} ${suite} main\n`;
    writeFileSync(join(work, 'sources.list'), source);
    const own = Object.entries({
      'Dir::Etc::sourcelist': join(work, 'sources.list'),
      'Dir::Etc::sourceparts': '/dev/null',
      'Dir::State::lists': join(work, 'lists'),
      'Dir::Cache': work,
      'APT::Sandbox::User': 'root',
    }).map(([key, value]) => `-o${key}=${value}`);
    run('apt-get', [...own, 'update', '-q'], work);
    run('apt-get', [...own, 'download', '-q', ...packages.map((name) => `${name}/${suite}`)], work);
    for (const file of readdirSync(work)) {
      if (file.endsWith('.deb')) run('dpkg-deb', ['-x', file, 'root'], work);
    }
    check(join(work, 'root'));
    rmSync(target, { recursive: true, force: true });
    mkdirSync(dirname(target), { recursive: true });
    renameSync(join(work, 'root'), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Runs a command to its end and gives what it printed; throws an Error with the last line of its complaint. */
export function run(command, args, cwd) {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: COMMAND_DEADLINE_MS, maxBuffer: 64 << 20 });
  if (done.error !== undefined) throw new Error(`running ${command}: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`${command} ${args.at(-1)}: ${done.stderr.trim().split('\n').at(-1)}`);
  return done.stdout;
}
