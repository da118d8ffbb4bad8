// Builds the two native modules with the headers of the Node that runs this script, so that no
// header download is needed: our addon, and ssh2's crypto binding.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const only = process.argv[2];

const nodeDir = headersOf(process.execPath);
const gyp = join(root, 'node_modules/node-gyp/bin/node-gyp.js');

function headersOf(execPath) {
  const prefix = dirname(dirname(execPath));
  if (!existsSync(join(prefix, 'include/node/node_api.h'))) {
    throw new Error(`no Node headers in ${prefix}/include/node: run this script with the pinned runtime (npm run setup installs it)`);
  }
  return prefix;
}

// node-gyp prefers npm's settings, which npm hands to scripts as variables, to its own flags: a user's
// `nodedir` would give us the headers of another Node.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_config_/i.test(name)));

function build(folder) {
  execFileSync(process.execPath, [gyp, 'rebuild', '--silent', '-C', folder, `--nodedir=${nodeDir}`, '--jobs=max'], { stdio: 'inherit', env });
}

// ssh2 1.17 calls v8::Context::GetIsolate(), which V8 has removed. The built copy uses its
// documented successor. The count is asserted, so that an ssh2 upgrade cannot pass unseen.
function buildSshCrypto() {
  const from = join(root, 'node_modules/ssh2/lib/protocol/crypto');
  const to = join(root, 'native/build-sshcrypto');
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  cpSync(from, to, { recursive: true, filter: (path) => !path.includes(`${from}/build`) });
  const file = join(to, 'src/binding.cc');
  const source = readFileSync(file, 'utf8');
  const parts = source.split('context->GetIsolate()');
  if (parts.length !== 7) throw new Error(`ssh2's binding.cc has ${parts.length - 1} calls of context->GetIsolate(), expected 6: look at the new version before building it`);
  writeFileSync(file, parts.join('v8::Isolate::GetCurrent()'));
  build(to);
  const target = join(from, 'build/Release');
  mkdirSync(target, { recursive: true });
  cpSync(join(to, 'build/Release/sshcrypto.node'), join(target, 'sshcrypto.node'));
  rmSync(to, { recursive: true, force: true });
}

if (only === undefined || only === 'addon') build(join(root, 'native'));
if (only === undefined || only === 'sshcrypto') buildSshCrypto();
