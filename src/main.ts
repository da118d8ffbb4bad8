#!/usr/bin/env node
/** Where the process begins: with the modules that were compiled when this was built, if there are any. */
import { existsSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

/** .ci/compile-cache.mjs writes it; whoever could change it could change the modules themselves. */
const COMPILED = fileURLToPath(new URL('compile-cache', import.meta.url));

// It stays in memory, which only commands that end can afford.
const [, , command] = process.argv;
if (command !== 'run' && command !== 'attach' && command !== 'injector' && existsSync(COMPILED))
  enableCompileCache(COMPILED);

await import('./start.ts');
