// The base image that docker/Dockerfile names, made from Debian and npm packages for machines that reach no image
// registry. Users pull the official image of the same tag; what is in it that the Dockerfile uses is here too:
// Debian's minimal system, Node with its headers, npm.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { codename, mirror, run } from './debian.mjs';

const root = resolve(import.meta.dirname, '..');
const LOCAL_CERTIFICATES = '/usr/local/share/ca-certificates';

/** The tag, as docker/Dockerfile has it. */
export function baseTag() {
  return /^ARG NODE_IMAGE=(\S+)$/m.exec(readFileSync(join(root, 'docker/Dockerfile'), 'utf8'))[1];
}

/** Settings of the image that `docker import` is to be given. */
export const BASE_CHANGES = [
  'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt',
  'CMD ["node"]',
];

/** Path of the root file system as a tar file below `cache`; made when it is not there. `node` is the pinned Node. */
export function baseTar(cache, node) {
  const version = run(node, ['--version']).trim();
  const tar = join(cache, `base-${codename()}-node-${version}.tar`);
  if (existsSync(tar)) return tar;
  mkdirSync(cache, { recursive: true });
  const system = join(cache, 'base.new');
  rmSync(system, { recursive: true, force: true });
  try {
    const include = '--include=ca-certificates,libatomic1,libstdc++6';
    run('debootstrap', ['--variant=minbase', include, codename(), system, mirror()]);
    trustLocalCertificates(system);
    for (const left of ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/doc', 'usr/share/man', 'usr/share/locale']) {
      rmSync(join(system, left), { recursive: true, force: true });
    }
    const prefix = dirname(dirname(node));
    cpSync(node, join(system, 'usr/local/bin/node'));
    cpSync(join(prefix, 'include'), join(system, 'usr/local/include'), { recursive: true });
    installNpm(cache, system);
    run('tar', ['-C', system, '-cf', `${tar}.new`, '.']);
    renameSync(`${tar}.new`, tar);
    return tar;
  } finally {
    rmSync(system, { recursive: true, force: true });
  }
}

/** A registry behind a proxy that the machine trusts is to be trusted by npm in the image as well. */
function trustLocalCertificates(system) {
  const own = existsSync(LOCAL_CERTIFICATES) ? readdirSync(LOCAL_CERTIFICATES).filter((name) => name.endsWith('.crt')) : [];
  for (const name of own) cpSync(join(LOCAL_CERTIFICATES, name), join(system, LOCAL_CERTIFICATES, name));
  if (own.length > 0) run('chroot', [system, 'update-ca-certificates']);
}

function installNpm(cache, system) {
  const [packed] = JSON.parse(run('npm', ['pack', 'npm@11', '--json', '--pack-destination', cache], cache));
  const target = join(system, 'usr/local/lib/node_modules/npm');
  mkdirSync(target, { recursive: true });
  const file = join(cache, packed.filename);
  run('tar', ['-C', target, '--strip-components=1', '-xzf', file]);
  rmSync(file, { force: true });
  for (const name of ['npm', 'npx']) symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(system, 'usr/local/bin', name));
}
