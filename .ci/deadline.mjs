// Loaded into every test file: the runner waits for as long as a file holds something open, so a test
// that failed before it stopped what it had started would hold all of CI up.
import { after } from 'node:test';

/** Milliseconds. The longest file builds and runs all native programs. */
const FILE_MS = 15 * 60_000;

/** Milliseconds that a file may take to end once its tests are over. */
const LEFT_MS = 20_000;

function end(what) {
  process.stderr.write(`${what}; it holds: ${process.getActiveResourcesInfo().join(', ')}\n`);
  process.exit(1);
}

setTimeout(() => end(`the file did not end within ${FILE_MS / 1000} s`), FILE_MS).unref();
after(() => {
  setTimeout(() => end('the tests are over, and the file does not end'), LEFT_MS).unref();
});
