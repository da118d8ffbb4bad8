/** The process: gives the command line to `cli`, and the exit code back. */
import { readFileSync } from 'node:fs';
import { dispatch } from './cli/dispatch.ts';
import type { Output } from './cli/output.ts';
import { stopOnSignals } from './cli/signals.ts';

function output(stream: NodeJS.WriteStream): Output {
  // A reader that went away, as in `netproxy help | head -1`, is no reason for a stack.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  return {
    terminal: stream.isTTY,
    get columns() {
      return stream.isTTY ? stream.columns : undefined;
    },
    write: (text) => void stream.write(text),
  };
}

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

// Explicit, since a command that is over must not be kept alive by a socket or thread left behind.
process.exit(
  await dispatch({
    argv: process.argv.slice(2),
    environment: process.env,
    stdout: output(process.stdout),
    stderr: output(process.stderr),
    version: manifest.version,
    loadCommands: async () => (await import('./app.ts')).commands,
    loadInjector: async () => (await import('./injector/injector.ts')).injector,
    onUncaught: (tell) => {
      process.on('uncaughtException', (error) => process.exit(tell(error)));
    },
    stopOnSignals,
  }),
);
