/**
 * The local half alone: the engine with a sink, a source and an echo in place of policy and SSH. Run in the
 * app's namespace; answers for `LOCAL_HALF`. Prints one line when it is ready.
 */
import { execFileSync } from 'node:child_process';
import type { Flow } from '../src/core/flow.ts';
import { FLOW_SEND_HIGH_WATER_BYTES, SSH_CHANNEL_PACKET_BYTES } from '../src/core/limits.ts';
import { loadNative } from '../src/core/native.ts';
import { Engine } from '../src/engine/engine.ts';
import { LOCAL_HALF, PORTS } from './load.ts';

const MTU = 1500;
/** What one channel packet carries, so that the calls are those of a real upload or download. */
const ZEROS = new Uint8Array(SSH_CHANNEL_PACKET_BYTES);

function drainTo(flow: Flow, take: (chunk: Uint8Array) => void): void {
  for (;;) {
    const chunk = flow.source.take(SSH_CHANNEL_PACKET_BYTES);
    if (chunk === undefined) break;
    take(chunk);
    flow.source.taken(chunk.length);
  }
  if (flow.source.ended) flow.sink.end();
}

function fill(flow: Flow): void {
  for (;;) {
    const queued = flow.sink.write(ZEROS);
    if (queued === 0 || queued > FLOW_SEND_HIGH_WATER_BYTES) return;
  }
}

function answer(flow: Flow): void {
  const { port } = flow.tuple.destination;
  flow.handlers = {
    readable: () =>
      drainTo(flow, (chunk) => {
        if (port === PORTS.echo) flow.sink.write(chunk);
      }),
    drained() {
      if (port === PORTS.source) fill(flow);
    },
    closed() {},
  };
  flow.accept();
  if (port === PORTS.source) fill(flow);
}

const native = loadNative();
const device = native.openTun('local0');
const engine = new Engine(native, device, MTU, {
  flow: answer,
  datagram: () => {},
  deviceLost: () => process.exit(1),
});
const ip = [
  `addr add ${LOCAL_HALF.own} dev local0`,
  `link set local0 mtu ${MTU} txqueuelen 10000 up`,
  `route add ${LOCAL_HALF.address} dev local0`,
];
execFileSync('ip', ['-batch', '-'], { input: `${ip.join('\n')}\n` });
process.on('SIGTERM', () => {
  engine.close();
  process.exit(0);
});
console.log('ready');
setInterval(() => {}, 60_000);
