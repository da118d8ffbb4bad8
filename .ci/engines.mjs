// Container engines for the tests of test/engine: the machine's own docker.io, which is the oldest, and the newest
// that a later Debian has and that runs here. Later ones are unpacked beside, with their client and plugins.
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { run, unpackPackages } from './debian.mjs';

export const cache = process.env.NETPROXY_CI_CACHE ?? '/var/cache/netproxy-ci';

/** Newest first. sid moves on and may come to need a newer C library; what lies in the cache stays. */
const SUITES = ['sid', 'trixie'];
const CLIENT = ['docker-cli', 'docker-compose', 'docker-buildx'];
const ENGINE = ['docker.io', 'containerd'];

/** The client, and plugins for it, of the newest release that runs here: gives the root of the unpacked packages. */
export function fetchEngines() {
  const troubles = [];
  for (const suite of SUITES) {
    const root = join(cache, 'engines', suite);
    try {
      if (!existsSync(root)) unpackPackages(suite, [...ENGINE, ...CLIENT], root, check);
      link(root);
      return { root, suite, troubles };
    } catch (error) {
      troubles.push(`${suite}: ${error.message}`);
    }
  }
  throw new Error(`no release has an engine that runs here: ${troubles.join('; ')}`);
}

/** Version of an engine below `root`; '' is the machine's own. */
export function engineVersion(root) {
  return /version ([^\s,]+)/.exec(run(join(root, '/usr/sbin/dockerd'), ['--version']))?.[1] ?? 'unknown';
}

function check(root) {
  engineVersion(root);
  run(join(root, 'usr/bin/containerd'), ['--version']);
  run(join(root, 'usr/bin/docker'), ['--version']);
  run(join(root, 'usr/libexec/docker/cli-plugins/docker-compose'), ['version']);
}

/** A folder for DOCKER_CONFIG, in which the client looks for its plugins. */
function link(root) {
  const plugins = join(root, 'config/cli-plugins');
  if (existsSync(plugins)) return;
  rmSync(join(root, 'config'), { recursive: true, force: true });
  mkdirSync(join(root, 'config'));
  symlinkSync('../usr/libexec/docker/cli-plugins', plugins);
}
