/**
 * Mixed traffic for a while, run in the application's namespace: `soak-client.ts ADDRESS SECONDS`. Prints
 * how many conversations of each kind went right and wrong, as JSON.
 */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf, receive, send } from './bytes.ts';
import type { Received } from './bytes.ts';
import { PORTS } from './ports.ts';

const [address = '', seconds = '10'] = process.argv.slice(2);
const deadline = performance.now() + Number(seconds) * 1000;
const WORKERS = 24;
const KIB = 1024;

/** A small generator with a seed (xorshift32), so that two runs do the same. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function connect(port: number): Promise<net.Socket> {
  const socket = net.connect({ host: address, port, allowHalfOpen: true });
  return new Promise((resolve, reject) =>
    socket.once('connect', () => resolve(socket)).once('error', reject),
  );
}

const check = (good: boolean, what: string): void => {
  if (!good) throw new Error(what);
};

type Below = (below: number) => number;

const KINDS: Record<string, (below: Below) => Promise<void>> = {
  bulk: async (below) => {
    const bytes = (1 + below(4096)) * KIB;
    const socket = await connect(PORTS.echo);
    const [received] = await Promise.all([receive(socket), send(socket, bytes)]);
    check(received.digest === digestOf(bytes), 'bulk bytes differ');
  },
  chatty: async (below) => {
    const socket = await connect(PORTS.echo);
    socket.setNoDelay(true);
    for (let i = 0; i < 50; i++) {
      const text = Buffer.alloc(1 + below(200), i);
      let left = text.length;
      const answered = new Promise<void>((resolve, reject) => {
        const take = (chunk: Buffer): void => {
          left -= chunk.length;
          if (left > 0) return;
          socket.off('data', take).off('error', reject);
          resolve();
        };
        socket.on('data', take).once('error', reject);
      });
      socket.write(text);
      await answered;
    }
    socket.destroy();
  },
  aborted: async (below) => {
    const socket = await connect(below(2) === 0 ? PORTS.download : PORTS.echo);
    socket.on('error', () => {});
    socket.write(Buffer.alloc((1 + below(512)) * KIB));
    await sleep(below(30));
    socket.resetAndDestroy();
  },
  'half-closed': async (below) => {
    const bytes = (1 + below(1024)) * KIB;
    const socket = await connect(PORTS.digest);
    const answer = receiveText(socket);
    await send(socket, bytes);
    const received = JSON.parse(await answer) as Received;
    check(received.digest === digestOf(bytes), 'half-closed bytes differ');
  },
  'slow reader': async (below) => {
    const socket = await connect(PORTS.download);
    socket.on('error', () => {});
    for (let i = 0; i < 5; i++) {
      socket.resume();
      await sleep(below(20));
      socket.pause();
      await sleep(below(300));
    }
    socket.destroy();
  },
  refused: async () => {
    const code = await connect(PORTS.closed).then(
      () => 'connected',
      (error: NodeJS.ErrnoException) => error.code,
    );
    check(code === 'ECONNREFUSED', `a closed port gave ${code}`);
  },
};

async function receiveText(socket: net.Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

const right: Record<string, number> = {};
const wrong: string[] = [];

async function worker(seed: number): Promise<void> {
  const below = random(seed);
  const kinds = Object.entries(KINDS);
  while (performance.now() < deadline) {
    const [kind, converse] = kinds[below(kinds.length)]!;
    try {
      await converse(below);
      right[kind] = (right[kind] ?? 0) + 1;
    } catch (error) {
      wrong.push(`${kind}: ${String(error)}`);
    }
  }
}

await Promise.all(Array.from({ length: WORKERS }, (_, i) => worker(i + 1)));
console.log(JSON.stringify({ right, wrong }));
process.exit(0);
