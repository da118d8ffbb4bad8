/**
 * The application of the end-to-end tests; run in its namespace as `client.ts MODE ADDRESS PORT [N]`.
 * Prints one line of JSON, `{ "code": ... }` when the connection failed.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { digestOf, receive, send } from './bytes.ts';

const [mode = '', host = '', portText = '', amountText = '0'] = process.argv.slice(2);
const port = Number(portText);
const amount = Number(amountText);

async function open(): Promise<Socket> {
  const socket = connect({ host, port, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

const MODES: Record<string, () => Promise<unknown>> = {
  connect: async () => {
    (await open()).destroy();
    return { connected: true };
  },
  /** Keeps a connection until it ends, and sends something every `amount` ms, or nothing; gives how it ended. */
  keep: async () => {
    const socket = await open();
    socket.resume();
    if (amount > 0) setInterval(() => socket.write('x'.repeat(1000)), amount);
    await once(socket, 'close');
    return { code: 'closed', at: Date.now() };
  },
  /** Connects again and again until it works; gives when that was, and since when it tried. */
  until: async () => {
    const since = Date.now();
    for (;;) {
      try {
        (await open()).destroy();
        return { connected: true, at: Date.now(), since };
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  },
  /** Connects again and again for `amount` ms; gives how many worked, each that did not, and the longest. */
  repeat: async () => {
    const failed: (string | undefined)[] = [];
    let connected = 0;
    let longestMs = 0;
    for (const end = performance.now() + amount; performance.now() < end;) {
      const since = performance.now();
      try {
        (await open()).destroy();
        connected++;
      } catch (error) {
        failed.push((error as NodeJS.ErrnoException).code);
      }
      longestMs = Math.max(longestMs, Math.round(performance.now() - since));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return { connected, failed, longestMs };
  },
  /** Sends `amount` bytes, half-closes, gives what comes back. */
  upload: async () => {
    const socket = await open();
    const answer = text(socket);
    await send(socket, amount);
    return JSON.parse(await answer) as unknown;
  },
  /** Reads all, and then sends `amount` bytes towards a server that has half-closed. */
  download: async () => {
    const socket = await open();
    const received = await receive(socket);
    await send(socket, amount);
    await once(socket, 'close');
    return received;
  },
  /** Sends and receives at the same time. */
  echo: async () => {
    const socket = await open();
    const received = receive(socket);
    await send(socket, amount);
    return await received;
  },
  /** `amount` connections, 50 of them at a time, each with a byte there and back; gives those that failed. */
  churn: async () => {
    const failed: (string | undefined)[] = [];
    let left = amount;
    const one = async (): Promise<void> => {
      while (left-- > 0) {
        try {
          const socket = await open();
          socket.write('x');
          const [byte] = (await once(socket, 'data')) as [Buffer];
          if (byte.toString() !== 'x') failed.push('another byte');
          socket.destroy();
        } catch (error) {
          failed.push((error as NodeJS.ErrnoException).code);
        }
      }
    };
    await Promise.all(Array.from({ length: 50 }, one));
    return { failed };
  },
  /** `amount` connections that are all open at once, each with an exchange of its own. */
  many: async () => {
    const bytes = 10_000;
    const want = digestOf(bytes);
    const sockets = await Promise.all(Array.from({ length: amount }, open));
    const results = await Promise.all(
      sockets.map(async (socket) => {
        const received = receive(socket);
        await send(socket, bytes);
        return await received;
      }),
    );
    return { right: results.filter(({ digest }) => digest === want).length };
  },
};

function text(socket: Socket): Promise<string> {
  let all = '';
  socket.setEncoding('utf8').on('data', (part: string) => (all += part));
  return new Promise((resolve, reject) => {
    socket.once('end', () => resolve(all));
    socket.once('error', reject);
  });
}

const started = performance.now();
try {
  console.log(JSON.stringify(await MODES[mode]!()));
} catch (error) {
  const { code } = error as NodeJS.ErrnoException;
  console.log(JSON.stringify({ code, ms: Math.round(performance.now() - started), at: Date.now() }));
}
process.exit(0);
