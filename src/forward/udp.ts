/**
 * The UDP flows of the application: the policy is asked once for each, and what carries its datagrams is
 * chosen. A table of flows, since UDP has none of its own: one that is idle is forgotten.
 */
import type { DatagramCarrier, DatagramReceiver, Traffic, UdpDatagram, UdpFlow } from '../core/datagram.ts';
import type { FlowTuple, RejectReason } from '../core/flow.ts';
import type { FlowDecision, FlowResult, FlowTable, LiveFlow } from '../core/flow-table.ts';
import { UDP_FLOWS_MAX, UDP_IDLE_MS, UDP_SWEEP_MS, UDP_UNANSWERED_IDLE_MS } from '../core/limits.ts';
import type { Policy, Verdict } from '../policy/policy.ts';

export interface UdpOptions {
  readonly policy: Policy;
  /** By kind of verdict. Flows with a verdict that has no carrier are refused. */
  readonly carriers: Readonly<Partial<Record<Verdict['kind'], DatagramCarrier>>>;
  /** Knows of every flow but questions to resolvers. */
  readonly flows: FlowTable;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

export interface UdpCounters {
  readonly flows: number;
  readonly opened: number;
  /** Flows that gave way to newer ones. */
  readonly evicted: number;
  readonly refused: number;
}

export class UdpForwarder {
  readonly #options: UdpOptions;
  /** By tuple; the one used longest ago first. */
  readonly #flows = new Map<string, Conversation>();
  #sweep: NodeJS.Timeout | undefined;
  #opened = 0;
  #evicted = 0;
  #refused = 0;

  constructor(options: UdpOptions) {
    this.#options = options;
  }

  get counters(): UdpCounters {
    return {
      flows: this.#flows.size,
      opened: this.#opened,
      evicted: this.#evicted,
      refused: this.#refused,
    };
  }

  accept(datagram: UdpDatagram): void {
    const key = `${datagram.source.port} ${datagram.destination.port} ${datagram.source.address} ${datagram.destination.address}`;
    const known = this.#flows.get(key);
    const flow = known ?? this.#open(datagram, key);
    // Set anew, so that it stands last.
    if (known !== undefined) this.#flows.delete(key);
    this.#flows.set(key, flow);
    flow.accept(datagram, this.#options.now());
  }

  close(): void {
    clearInterval(this.#sweep);
    this.#sweep = undefined;
    for (const flow of this.#flows.values()) flow.close('aborted');
    this.#flows.clear();
  }

  #open(datagram: UdpDatagram, key: string): Conversation {
    const { family, source, destination } = datagram;
    const tuple: FlowTuple = { protocol: 'udp', family, source, destination };
    const verdict = this.#options.policy.decide(tuple);
    const carrier = verdict.kind === 'drop' ? SILENCE : this.#options.carriers[verdict.kind];
    const { flows } = this.#options;
    if (this.#flows.size >= UDP_FLOWS_MAX) this.#evict();
    this.#opened++;
    if (carrier === undefined) this.#refused++;
    this.#sweep ??= setInterval(() => this.#forgetIdle(), UDP_SWEEP_MS).unref();
    const flow = new Conversation(tuple, verdict, datagram, carrier);
    if (verdict.kind === 'drop') flows.turnedAway(tuple, verdict, 'dropped', 'by rule');
    else if (carrier === undefined) flows.turnedAway(tuple, verdict, 'refused', 'UDP that no rule carries');
    else if (verdict.kind !== 'dns') {
      flow.stand(flows, () => this.#flows.delete(key));
    }
    return flow;
  }

  #evict(): void {
    for (const [key, flow] of this.#flows) {
      this.#flows.delete(key);
      flow.close('evicted');
      this.#evicted++;
      return;
    }
  }

  #forgetIdle(): void {
    const now = this.#options.now();
    for (const [key, flow] of this.#flows) {
      if (!flow.idle(now)) continue;
      this.#flows.delete(key);
      flow.close('idle');
    }
    if (this.#flows.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }
}

/** Carries the datagrams of flows that a rule drops: nowhere. */
const SILENCE: DatagramCarrier = { open: () => ({ accept(): void {}, closed(): void {} }) };

/** What is said of a flow's end beside its result. */
const WORDS = {
  idle: 'unused for too long',
  evicted: 'in the way of newer ones',
  aborted: 'netproxy stopped',
};

class Conversation implements UdpFlow, LiveFlow {
  readonly tuple: FlowTuple;
  readonly decision: FlowDecision;
  readonly openMs = undefined;
  readonly sent: Traffic = { datagrams: 0, bytes: 0 };
  readonly received: Traffic = { datagrams: 0, bytes: 0 };
  readonly #receiver: DatagramReceiver | undefined;
  #latest: UdpDatagram;
  #bastion: string | undefined;
  #usedAt = 0;
  /** Ends its entry in the table of all flows, where it has one. */
  #told: ((result: FlowResult, message: string) => void) | undefined;
  #forget: (() => void) | undefined;

  constructor(tuple: FlowTuple, verdict: Verdict, first: UdpDatagram, carrier: DatagramCarrier | undefined) {
    this.tuple = tuple;
    this.decision = verdict;
    this.#latest = first;
    this.#receiver = carrier?.open(this, 'upstream' in verdict ? verdict.upstream : '');
  }

  /** Stands in the table of all flows from now on; `forget` lets go of it in the table of UDP. */
  stand(flows: FlowTable, forget: () => void): void {
    const id = flows.begin(this);
    this.#told = (result, message) => flows.end(id, result, message);
    this.#forget = forget;
  }

  get state(): LiveFlow['state'] {
    return this.received.datagrams > 0 ? 'open' : 'opening';
  }

  /** The last one is known also when it is gone. */
  get bastion(): string | undefined {
    this.#bastion = this.#receiver?.bastion ?? this.#bastion;
    return this.#bastion;
  }

  get bytesOut(): number {
    return this.sent.bytes;
  }

  get bytesIn(): number {
    return this.received.bytes;
  }

  kill(): void {
    this.#forget?.();
    this.#receiver?.closed();
    this.#latest.refuse();
    this.#told?.('killed', 'by an operator');
  }

  accept(datagram: UdpDatagram, now: number): void {
    this.#usedAt = now;
    this.#latest = datagram;
    this.sent.datagrams++;
    this.sent.bytes += datagram.payload.length;
    if (this.#receiver === undefined) datagram.refuse();
    else this.#receiver.accept(datagram);
  }

  /** A flow that was never answered is likelier a probe than a conversation. */
  idle(now: number): boolean {
    const most = this.received.datagrams > 0 ? UDP_IDLE_MS : UDP_UNANSWERED_IDLE_MS;
    return now - this.#usedAt >= most;
  }

  close(result: keyof typeof WORDS): void {
    this.#receiver?.closed();
    this.#told?.(result, WORDS[result]);
  }

  send(payload: Uint8Array): void {
    // Whoever answers is there.
    if (this.received.datagrams === 0) this.#bastion = this.#receiver?.bastion;
    this.received.datagrams++;
    this.received.bytes += payload.length;
    this.#latest.answer(payload);
  }

  refuse(reason?: RejectReason): void {
    this.#latest.refuse(reason);
  }

  tooBig(mtu: number): void {
    this.#latest.tooBig(mtu);
  }
}
