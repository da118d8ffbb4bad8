// npm run image: builds the images "netproxy", "netproxy-anchor" and "netproxy-relay" with the engine that `docker` talks to. Where the
// base image is neither there nor to be had from a registry, it is made from packages.
import { spawnSync } from 'node:child_process';
import { BASE_CHANGES, baseTag, baseTar } from './base-image.mjs';
import { cache } from './engines.mjs';
import { orExplain, root, runtime } from './setup.mjs';

function docker(args, stdio = 'inherit') {
  const done = spawnSync('docker', args, { cwd: root, stdio, env: { ...process.env, DOCKER_BUILDKIT: '1' } });
  if (done.error !== undefined) throw done.error;
  return done.status;
}

orExplain(() => {
  const base = baseTag();
  if (docker(['image', 'inspect', base], 'ignore') !== 0 && docker(['pull', '--quiet', base], 'ignore') !== 0) {
    console.log(`image: making ${base} from packages, since there is no registry that has it`);
    const changes = BASE_CHANGES.flatMap((change) => ['--change', change]);
    if (docker(['import', ...changes, baseTar(cache, runtime), base]) !== 0) process.exit(1);
  }
  const revision = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).stdout?.trim() || 'unknown';
  for (const target of ['netproxy', 'anchor', 'relay']) {
    const tag = target === 'netproxy' ? 'netproxy' : `netproxy-${target}`;
    const status = docker(['build', '--build-arg', `REVISION=${revision}`, '-f', 'docker/Dockerfile', '--target', target, '-t', tag, '.']);
    if (status !== 0) process.exit(status);
  }
  docker(['images', '--filter', 'reference=netproxy*']);
});
