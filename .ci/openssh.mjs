// A newer OpenSSH server than Debian 12's, for tests: 9.8 and later punish clients by their address
// (PerSourcePenalties) and split sshd into three programs. It comes from the backports of the mirror that the
// machine uses anyway, and is unpacked beside: the machine's own sshd stays as it is.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The first release that has what the tests want. */
const WANTED = [9, 8];
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** The root of the unpacked package, below `cache`. */
const unpacked = (cache) => join(cache, 'openssh');

/** Why it is to be fetched; undefined when it is there, or the machine's own is new enough. */
export function lacksNewerSshd(cache) {
  if (existsSync(join(unpacked(cache), 'usr/sbin/sshd'))) return undefined;
  const asked = spawnSync('/usr/sbin/sshd', ['-V'], { encoding: 'utf8' });
  const [, major = 0, minor = 0] = /OpenSSH_(\d+)\.(\d+)/.exec(`${asked.stdout}${asked.stderr}`) ?? [];
  if (Number(major) > WANTED[0] || (Number(major) === WANTED[0] && Number(minor) >= WANTED[1]))
    return undefined;
  return `the machine's is ${major}.${minor}`;
}

/** Fetches it. Gives the reason when it cannot be had here; the tests then use the machine's alone. */
export function fetchNewerSshd(cache) {
  const work = join(cache, 'openssh-apt');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, 'lists/partial'), { recursive: true });
  mkdirSync(join(work, 'archives/partial'), { recursive: true });
  try {
    const codename = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
    const targets = run('apt-get', [
      'indextargets',
      '--format',
      '$(REPO_URI) $(CODENAME) $(COMPONENT)',
      'Created-By: Packages',
    ]);
    const mirror = targets
      .split('\n')
      .map((line) => line.split(' '))
      .find(([, name, component]) => name === codename && component === 'main')?.[0];
    if (mirror === undefined) throw new Error('no mirror of this release is configured');
    writeFileSync(
      join(work, 'sources.list'),
      `deb [signed-by=${KEYRING}] ${mirror} ${codename}-backports main\n`,
    );
    const own = Object.entries({
      'Dir::Etc::sourcelist': join(work, 'sources.list'),
      'Dir::Etc::sourceparts': '/dev/null',
      'Dir::State::lists': join(work, 'lists'),
      'Dir::Cache': work,
      'APT::Sandbox::User': 'root',
    }).map(([key, value]) => `-o${key}=${value}`);
    run('apt-get', [...own, 'update', '-q'], work);
    run('apt-get', [...own, 'download', '-q', `openssh-server/${codename}-backports`], work);
    const file = readdirSync(work).find((name) => /^openssh-server_.*\.deb$/.test(name));
    run('dpkg-deb', ['-x', file, 'root'], work);
    run(join(work, 'root/usr/sbin/sshd'), ['-V']);
    rmSync(unpacked(cache), { recursive: true, force: true });
    renameSync(join(work, 'root'), unpacked(cache));
    return undefined;
  } catch (error) {
    return error.message;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run(command, args, cwd) {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 });
  if (done.error !== undefined) throw new Error(`running ${command}: ${done.error.message}`);
  if (done.status !== 0)
    throw new Error(`${command} ${args.at(-1)}: ${done.stderr.trim().split('\n').at(-1)}`);
  return done.stdout;
}
