/** The servers on the target; run in its namespace. Ports: `PORTS`. */
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { receive, send } from './bytes.ts';
import type { Received } from './bytes.ts';
import { DOWNLOAD_BYTES, PORTS } from './ports.ts';

let lastReceived: Received | undefined;

const SERVERS: Record<number, (socket: Socket) => void | Promise<void>> = {
  // Reads all, and answers after the client's half-close.
  [PORTS.digest]: async (socket) => {
    socket.end(JSON.stringify(await receive(socket)));
  },
  // Sends all and half-closes, and only then reads what the client still has to say.
  [PORTS.download]: async (socket) => {
    await send(socket, DOWNLOAD_BYTES);
    lastReceived = await receive(socket);
  },
  [PORTS.last]: (socket) => void socket.end(JSON.stringify(lastReceived)),
  [PORTS.echo]: (socket) => void socket.pipe(socket),
};

for (const [port, serve] of Object.entries(SERVERS)) {
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    void serve(socket)?.catch(() => {});
  }).listen({ host: '::', port: Number(port), backlog: 1024 });
}
