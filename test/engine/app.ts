/**
 * The application in containers of tests: `app.ts` serves; `app.ts MODE WORDS` is a client within its namespace and
 * prints one line of JSON, `{ "code": ... }` for what failed. Stands alone: it is the only file in the container.
 */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const CLIENT_DEADLINE_MS = 20_000;
const [mode = 'serve', ...words] = process.argv.slice(2);

async function open(host = '', port = ''): Promise<Socket> {
  const socket = connect({ host, port: Number(port), noDelay: true });
  await once(socket, 'connect', { signal: AbortSignal.timeout(CLIENT_DEADLINE_MS) });
  return socket;
}

/** Sends a line to an echo server and gives what comes back. */
async function echo(host?: string, port?: string): Promise<unknown> {
  const socket = await open(host, port);
  socket.write('hello');
  const [answer] = (await once(socket, 'data', { signal: AbortSignal.timeout(CLIENT_DEADLINE_MS) })) as [
    Buffer,
  ];
  socket.destroy();
  return { echo: answer.toString(), from: socket.localAddress };
}

/** Exchanges with an echo server all the time; `/kept` of the server tells how many there were, and how it ended. */
const kept = { exchanges: 0, ended: '' };
async function keep(host: string, port: string): Promise<void> {
  const socket = await open(host, port);
  socket.once('close', () => (kept.ended ||= 'closed'));
  socket.once('error', (error: NodeJS.ErrnoException) => (kept.ended = error.code ?? 'unknown'));
  socket.on('data', () => kept.exchanges++);
  while (kept.ended === '') {
    socket.write('x');
    await sleep(50);
  }
}

const MODES: Record<string, () => Promise<unknown>> = {
  serve: async () => {
    const { KEEP_HOST, KEEP_PORT } = process.env;
    createServer((request, response) => {
      if (request.url === '/kept') response.end(JSON.stringify(kept));
      else response.end(`app ${request.socket.remoteAddress}`);
    }).listen({ host: '::', port: 8080 });
    if (KEEP_HOST !== undefined && KEEP_PORT !== undefined) void keep(KEEP_HOST, KEEP_PORT).catch(() => {});
    return await new Promise(() => {});
  },
  echo: () => echo(words[0], words[1]),
  /** The same as a job of CI: the exit code tells. */
  job: async () => {
    await echo(words[0], words[1]).catch(() => process.exit(3));
    return {};
  },
  /** Every address of a name, by getaddrinfo as other programs. */
  lookup: async () => ({
    addresses: (await lookup(words[0] ?? '', { all: true })).map(({ address }) => address),
  }),
  fetch: async () => {
    const answer = await fetch(words[0] ?? '', { signal: AbortSignal.timeout(CLIENT_DEADLINE_MS) });
    return { status: answer.status, text: await answer.text() };
  },
  /** Tries to reach an address again and again, from before netproxy on; for a leak oracle to look at. */
  press: async () => {
    for (;;) {
      const socket = connect({ host: words[0] ?? '', port: Number(words[1]) });
      socket.on('error', () => {});
      await sleep(20);
      socket.destroy();
    }
  },
};

// As the first process of a container it would ignore the signal.
process.on('SIGTERM', () => process.exit(0));
try {
  console.log(JSON.stringify(await MODES[mode]!()));
} catch (error) {
  const { code, name, cause } = error as NodeJS.ErrnoException;
  console.log(JSON.stringify({ code: (cause as NodeJS.ErrnoException | undefined)?.code ?? code ?? name }));
}
process.exit(0);
