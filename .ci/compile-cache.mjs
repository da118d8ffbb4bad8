// node .ci/compile-cache.mjs DIST
// Keeps what V8 makes of the modules in DIST/compile-cache, where src/main.ts looks for it. It holds for this Node,
// this user and these paths; anywhere else it is not looked at.
import { rmSync } from 'node:fs';
import { enableCompileCache, flushCompileCache } from 'node:module';
import { resolve } from 'node:path';

const dist = resolve(process.argv[2]);
const folder = resolve(dist, 'compile-cache');
rmSync(folder, { recursive: true, force: true });
const { message } = enableCompileCache(folder);
if (message !== undefined) throw new Error(message);
for (const name of ['cli/dispatch.js', 'cli/job.js', 'app.js', 'exec.js', 'core/logger.js']) await import(resolve(dist, name));
flushCompileCache();
