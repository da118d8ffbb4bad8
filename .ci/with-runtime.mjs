// node .ci/with-runtime.mjs [--root] SCRIPT [ARGUMENT...]
// Sets the checkout up, then runs SCRIPT with the pinned Node. --root: SCRIPT makes namespaces.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { orExplain, root, runtime, setup, toolEnv } from './setup.mjs';

const args = process.argv.slice(2);
const needRoot = args[0] === '--root';
if (needRoot) args.shift();
orExplain(() => setup({ needRoot }));

const child = spawn(runtime, args, { cwd: root, stdio: 'inherit', env: toolEnv() });
// Ctrl-C reaches the child by the terminal; a signal sent to this process alone would not.
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
process.on('SIGINT', () => {});
child.on('exit', (code, signal) => {
  process.exit(signal === null ? code : 128 + constants.signals[signal]);
});
