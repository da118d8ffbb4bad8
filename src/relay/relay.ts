/**
 * UDP through a bastion that has nothing of ours installed: a program that netproxy sends to an interpreter
 * there (program.ts) has a socket for each flow, and passes datagrams both ways over one channel (frames.ts).
 */
import type { Commander } from '../core/dialer.ts';
import type { DatagramReceiver, EchoRequest, UdpFlow } from '../core/datagram.ts';
import type { RejectReason } from '../core/flow.ts';
import {
  RELAY_AGE_MS,
  RELAY_ALIVE_MS,
  RELAY_BATCH_BYTES,
  RELAY_IDLE_MS,
  RELAY_REFUSAL_MS,
  RELAY_RETRY_MS,
  RELAY_START_AGE_MS,
} from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { echoKey } from '../core/waiting-echoes.ts';
import { Delay } from './delay.ts';
import { PingRelayFlow, UdpRelayFlow } from './flow.ts';
import type { RelayFlow } from './flow.ts';
import {
  CAN_PING4,
  CAN_PING6,
  CLOSE_BYTES,
  DATA_HEAD_BYTES,
  ERROR_NO_SOCKET,
  OPEN_BYTES_MAX,
  TIME_BYTES,
  writeClose,
  writeData,
  writeOpen,
  writeTime,
} from './frames.ts';
import type { Hello } from './frames.ts';
import type { Interpreter } from './program.ts';
import { DatagramQueue } from './queue.ts';
import { Run } from './run.ts';
import type { RunEnd, RunEvents } from './run.ts';

const DATAGRAM_BYTES_MAX = 65_535;
const FLAG_WHOLE = 1;

export interface RelayOptions {
  /** Name of the bastion or group. */
  readonly upstream: string;
  /** What has that name now, if anything. */
  commander(): Commander | undefined;
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  now(): number;
  /** Answers the pings that the server does not let the relay send. */
  pingOtherwise(request: EchoRequest): void;
}

export interface RelayCounters {
  readonly upstream: string;
  readonly state: 'off' | 'starting' | 'up' | 'refused';
  readonly interpreter: Interpreter | undefined;
  readonly flows: number;
  /** Runs that came up. */
  readonly starts: number;
  /** Datagrams handed to the relay, and received from it. */
  readonly sent: number;
  readonly received: number;
  /** Datagrams dropped: here, for their age or for room; and by the relay, in this run. */
  readonly dropped: number;
  readonly droppedFar: number;
}

/** The relay of one bastion or group. Started by the first datagram, and ended when it has no flows. */
export class Relay implements RunEvents {
  readonly #options: RelayOptions;
  /** All that have datagrams to send, by number. */
  readonly #flows = new Map<number, RelayFlow>();
  readonly #pings = new Map<string, PingRelayFlow>();
  /** Those with a socket at the relay; the one used longest ago first. */
  readonly #open = new Map<number, RelayFlow>();
  readonly #queue = new DatagramQueue();
  #closing: number[] = [];
  #run: Run | undefined;
  #hello: Hello | undefined;
  #interpreter: Interpreter | undefined;
  #delay = new Delay();
  #late = false;
  #refusal: { readonly until: number; readonly reason: RejectReason } | undefined;
  #memory: Buffer | undefined;
  #alive: NodeJS.Timeout | undefined;
  #wroteAt = 0;
  #usedAt = 0;
  #lastId = 0;
  #starts = 0;
  /** It was lost with the connection, and has not come up since. */
  #again = false;
  #sent = 0;
  #received = 0;
  #dropped = 0;
  #droppedFar = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  get counters(): RelayCounters {
    const off = this.#refusal === undefined ? 'off' : 'refused';
    return {
      upstream: this.#options.upstream,
      state: this.#run === undefined ? off : this.#run.up ? 'up' : 'starting',
      interpreter: this.#interpreter,
      flows: this.#flows.size,
      starts: this.#starts,
      sent: this.#sent,
      received: this.#received,
      dropped: this.#dropped,
      droppedFar: this.#droppedFar,
    };
  }

  open(udp: UdpFlow): DatagramReceiver {
    const flow = new UdpRelayFlow(this.#nextId(), udp);
    this.#flows.set(flow.id, flow);
    const bastion = (): string | undefined => this.#run?.bastion;
    return {
      get bastion() {
        return bastion();
      },
      accept: ({ payload, whole }) => this.#send(flow, payload, whole ? FLAG_WHOLE : 0),
      closed: () => this.#forget(flow),
    };
  }

  ping(request: EchoRequest): void {
    if (!this.#mayPing(request.family)) {
      this.#options.pingOtherwise(request);
      return;
    }
    const key = echoKey(request);
    let flow = this.#pings.get(key);
    if (flow === undefined) {
      flow = new PingRelayFlow(this.#nextId(), request);
      this.#pings.set(key, flow);
      this.#flows.set(flow.id, flow);
    }
    this.#send(flow, flow.ask(request, this.#options.now()), 0);
  }

  stop(): void {
    clearInterval(this.#alive);
    this.#alive = undefined;
    this.#run?.stop();
    this.#run = undefined;
    this.#reset();
  }

  /** As far as it is known: a server that runs no relay sends no pings either. */
  #mayPing(family: 4 | 6): boolean {
    if (this.#hello !== undefined) return (this.#hello.can & (family === 4 ? CAN_PING4 : CAN_PING6)) !== 0;
    return this.#refusal?.reason !== 'refused' || this.#options.now() >= this.#refusal.until;
  }

  /** Hands over the pings that cannot be sent. */
  #pingOtherwise(): void {
    for (const [key, flow] of this.#pings) {
      if (this.#mayPing(flow.address.length === 4 ? 4 : 6)) continue;
      this.#pings.delete(key);
      this.#forget(flow);
      for (const request of flow.release()) this.#options.pingOtherwise(request);
    }
  }

  #nextId(): number {
    this.#lastId = (this.#lastId + 1) >>> 0;
    return this.#lastId;
  }

  #send(flow: RelayFlow, payload: Uint8Array, flags: number): void {
    const now = this.#options.now();
    const refusal = this.#refusal;
    if (refusal !== undefined && now < refusal.until) {
      flow.refuse(refusal.reason);
      return;
    }
    this.#usedAt = now;
    const age = this.#run?.up === true ? RELAY_AGE_MS : RELAY_START_AGE_MS;
    this.#dropped += this.#queue.push({ flow, payload, flags, until: now + age });
    if (this.#run === undefined) this.#start();
    else this.#run.wake();
  }

  #forget(flow: RelayFlow): void {
    flow.over = true;
    this.#flows.delete(flow.id);
    this.#close(flow);
  }

  #close(flow: RelayFlow): void {
    if (!flow.open) return;
    flow.open = false;
    this.#open.delete(flow.id);
    this.#closing.push(flow.id);
    this.#run?.wake();
  }

  #start(): void {
    const commander = this.#options.commander();
    if (commander === undefined) {
      this.#refuse('network-unreachable', RELAY_RETRY_MS);
      return;
    }
    this.#refusal = undefined;
    this.#run = new Run(commander, this.#interpreter, this);
  }

  #reset(): void {
    for (const flow of this.#open.values()) flow.open = false;
    this.#open.clear();
    this.#closing = [];
    this.#hello = undefined;
    this.#memory = undefined;
    this.#delay = new Delay();
    this.#late = false;
    this.#droppedFar = 0;
  }

  /** Answers everything with `reason` for a while. */
  #refuse(reason: RejectReason, ms: number): void {
    this.#refusal = { reason, until: this.#options.now() + ms };
    this.#pingOtherwise();
    const told = new Set<RelayFlow>();
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) told.add(next.flow);
    for (const flow of told) flow.refuse(reason);
  }

  // --- What the run tells ------------------------------------------------------------------------

  up(interpreter: Interpreter, hello: Hello): void {
    this.#interpreter = interpreter;
    this.#hello = hello;
    this.#starts++;
    this.#again = false;
    this.#memory = Buffer.allocUnsafeSlow(RELAY_BATCH_BYTES + DATAGRAM_BYTES_MAX + OPEN_BYTES_MAX);
    this.#alive ??= setInterval(() => this.#look(), RELAY_ALIVE_MS).unref();
    const { upstream, log } = this.#options;
    log.info({ upstream, interpreter, flows: hello.flows, can: hello.can }, 'the UDP relay runs');
    this.#pingOtherwise();
  }

  ended(end: RunEnd, reason: string): void {
    this.#run = undefined;
    this.#reset();
    const { upstream, log } = this.#options;
    if (end === 'unable') {
      this.#interpreter = undefined;
      const message =
        'UDP cannot be relayed, and is refused: the bastion runs neither python3 nor perl for us';
      log.warn({ upstream, reason }, `${message}: ${reason}`);
      this.#refuse('refused', RELAY_REFUSAL_MS);
    } else if (end === 'retired') {
      log.info({ upstream, reason }, `the UDP relay moves to another connection: ${reason}`);
      this.#startSoon();
    } else if (end === 'away' && !this.#again && this.#usedLately()) {
      log.info({ upstream, reason }, `the UDP relay is gone, and is started again: ${reason}`);
      this.#again = true;
      this.#startSoon();
    } else {
      log.warn({ upstream, reason }, `the UDP relay has ended: ${reason}`);
      this.#refuse('host-unreachable', RELAY_RETRY_MS);
    }
  }

  /** The bastion learns of the end in this turn. Then this waits for the next connection, as a connect does. */
  #startSoon(): void {
    setImmediate(() => {
      if (this.#run === undefined && this.#usedLately()) this.#start();
    });
  }

  #usedLately(): boolean {
    return this.#flows.size > 0 && this.#options.now() - this.#usedAt < RELAY_IDLE_MS;
  }

  data(id: number, payload: Buffer): void {
    if (this.#late) {
      this.#dropped++;
      return;
    }
    this.#received++;
    this.#flows.get(id)?.received(payload);
  }

  error(id: number, code: number, mtu: number): void {
    const flow = this.#flows.get(id);
    if (flow === undefined) return;
    if (code === ERROR_NO_SOCKET) {
      flow.open = false;
      this.#open.delete(id);
    }
    flow.failed(code, mtu);
  }

  time(ms: number, dropped: number): void {
    this.#droppedFar = dropped;
    this.#late = this.#delay.of(ms, this.#options.now()) > RELAY_AGE_MS;
  }

  fill(): Uint8Array | undefined {
    const memory = this.#memory;
    const now = this.#options.now();
    const due = now - this.#wroteAt >= RELAY_ALIVE_MS;
    if (memory === undefined || (this.#queue.size === 0 && this.#closing.length === 0 && !due))
      return undefined;
    let at = writeTime(memory, 0, Math.floor(now));
    while (this.#closing.length > 0 && at < RELAY_BATCH_BYTES)
      at = writeClose(memory, at, this.#closing.pop()!);
    for (let next = this.#queue.first; next !== undefined; next = this.#queue.first) {
      if (next.flow.over || next.until < now) {
        this.#queue.shift();
        this.#dropped++;
        continue;
      }
      const bytes = next.payload.length + DATA_HEAD_BYTES + OPEN_BYTES_MAX + CLOSE_BYTES;
      if (at > TIME_BYTES && at + bytes > RELAY_BATCH_BYTES) break;
      this.#queue.shift();
      at = this.#opened(next.flow, memory, at);
      at = writeData(memory, at, next.flow.id, next.flags, next.payload);
      this.#sent++;
    }
    if (at === TIME_BYTES && !due) return undefined;
    this.#wroteAt = now;
    return memory.subarray(0, at);
  }

  /** Sees that the relay has a socket for `flow`, in the place of the one used longest ago if need be. */
  #opened(flow: RelayFlow, memory: Buffer, start: number): number {
    let at = start;
    if (flow.open) {
      this.#open.delete(flow.id);
    } else {
      const most = this.#hello?.flows ?? 1;
      for (const [id, oldest] of this.#open) {
        if (this.#open.size < most) break;
        this.#open.delete(id);
        oldest.open = false;
        at = writeClose(memory, at, id);
      }
      at = writeOpen(memory, at, flow.id, flow.kind, flow.port, flow.address);
      flow.open = true;
    }
    this.#open.set(flow.id, flow);
    return at;
  }

  /** Keeps the relay alive while it has flows, and ends it a while after the last. */
  #look(): void {
    const now = this.#options.now();
    for (const [key, flow] of this.#pings) {
      if (!flow.idle(now)) continue;
      this.#pings.delete(key);
      this.#forget(flow);
    }
    if (this.#flows.size === 0 && now - this.#usedAt >= RELAY_IDLE_MS) {
      this.#options.log.info({ upstream: this.#options.upstream }, 'the UDP relay is idle, and has ended');
      this.stop();
      return;
    }
    this.#run?.wake();
  }
}
