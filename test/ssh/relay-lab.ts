/** A relay on a real sshd, UDP servers behind it, and flows of an application that is not there. */
import dgram from 'node:dgram';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import type { DatagramReceiver, EchoRequest, UdpFlow } from '../../src/core/datagram.ts';
import type { Commander } from '../../src/core/dialer.ts';
import type { RejectReason } from '../../src/core/flow.ts';
import { Relay } from '../../src/relay/relay.ts';
import { waitFor } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd, SshdOptions } from '../lab/sshd.ts';
import { LogLines } from './harness.ts';

/** In the environment of everything that the lab's server runs. */
const MARK = 'NETPROXY_LAB';

export type Tools = 'all' | 'perl' | 'none';

const PLACES = { perl: '/usr/bin/perl', python3: '/usr/bin/python3' };

let serial = 0;

/** Milliseconds after which a datagram that was not answered is said once more. */
const AGAIN_MS = 2500;

/** A server on which only `tools` are found, and no start-up file of the user's shell. */
export async function serverWith(
  tools: Tools,
  options: SshdOptions = {},
): Promise<Sshd & { readonly mark: string }> {
  const mark = `${process.pid}-${serial++}`;
  const sshd = await startSshd({ ...options, start: false });
  const folder = path.join(sshd.directory, 'bin');
  mkdirSync(folder);
  if (tools !== 'none') symlinkSync(PLACES.perl, path.join(folder, 'perl'));
  if (tools === 'all') symlinkSync(PLACES.python3, path.join(folder, 'python3'));
  appendFileSync(sshd.configFile, `SetEnv PATH=${folder} HOME=${folder} ${MARK}=${mark}\n`);
  await sshd.start();
  return Object.assign(sshd, { mark });
}

/** Processes that a server of `serverWith` has started and that still run. */
export function processesOf(mark: string): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARK}=${mark}\0`)) continue;
      found.push(readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' '));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

export interface UdpServer {
  readonly address: string;
  readonly port: number;
  readonly got: Buffer[];
  close(): void;
}

/** Echoes, unless `answer` says otherwise. */
export async function udpServer(
  address = '127.0.0.1',
  answer: (payload: Buffer) => Buffer | undefined = (payload) => payload,
): Promise<UdpServer> {
  const socket = dgram.createSocket({
    type: address.includes(':') ? 'udp6' : 'udp4',
    recvBufferSize: 4 << 20,
  });
  // A test that fails does not close it.
  socket.unref();
  const got: Buffer[] = [];
  socket.on('message', (payload, from) => {
    got.push(payload);
    const back = answer(payload);
    if (back !== undefined) socket.send(back, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, address, resolve));
  return { address, port: socket.address().port, got, close: () => socket.close() };
}

/** A flow of the application, and what it was told. */
export class AppFlow implements UdpFlow {
  readonly tuple: UdpFlow['tuple'];
  readonly sent = { datagrams: 0, bytes: 0 };
  readonly received = { datagrams: 0, bytes: 0 };
  readonly got: Buffer[] = [];
  readonly refusals: RejectReason[] = [];
  readonly mtus: number[] = [];
  /** How many datagrams `echo` sent. */
  said = 0;
  readonly #receiver: DatagramReceiver;

  constructor(relay: Relay, to: { readonly address: string; readonly port: number }) {
    const family = to.address.includes(':') ? 6 : 4;
    const source = { address: family === 4 ? '198.18.0.1' : 'fd00::1', port: 40_000 + serial++ };
    this.tuple = { protocol: 'udp', family, source, destination: { address: to.address, port: to.port } };
    this.#receiver = relay.open(this);
  }

  say(payload: string | Uint8Array, whole = true): void {
    this.#receiver.accept({
      protocol: 'udp',
      family: this.tuple.family,
      source: this.tuple.source,
      destination: this.tuple.destination,
      whole,
      payload: Buffer.from(payload as string),
      answer: (back) => this.send(back),
      refuse: (reason) => this.refuse(reason),
      tooBig: (mtu) => this.tooBig(mtu),
    });
  }

  close(): void {
    this.#receiver.closed();
  }

  get bastion(): string | undefined {
    return this.#receiver.bastion;
  }

  send(payload: Uint8Array): void {
    this.received.datagrams++;
    this.got.push(Buffer.from(payload));
  }

  refuse(reason: RejectReason = 'refused'): void {
    this.refusals.push(reason);
  }

  tooBig(mtu: number): void {
    this.mtus.push(mtu);
  }

  /** Says it, again where it was lost, since what waits for RELAY_AGE_MS is dropped; and waits for the same. */
  async echo(text: string): Promise<void> {
    const before = this.got.length;
    let due = performance.now();
    await waitFor(`the echo of ${text}`, () => {
      if (performance.now() >= due) {
        due = performance.now() + AGAIN_MS;
        this.said++;
        this.say(text);
      }
      return this.got.slice(before).some((got) => got.toString() === text);
    });
  }
}

export interface RelayLab {
  readonly relay: Relay;
  readonly log: LogLines;
  readonly otherwise: EchoRequest[];
}

/** A relay by `commander`, not started. */
export function relayBy(commander: Commander): RelayLab {
  const log = new LogLines();
  const otherwise: EchoRequest[] = [];
  const relay = new Relay({
    upstream: 'lab',
    commander: () => commander,
    log,
    now: () => performance.now(),
    pingOtherwise: (request) => otherwise.push(request),
  });
  return { relay, log, otherwise };
}
