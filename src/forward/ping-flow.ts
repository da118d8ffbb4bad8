/** The pings of one socket to one host, as a flow that operators see. */
import type { EchoRequest } from '../core/datagram.ts';
import type { FlowTuple } from '../core/flow.ts';
import type { FlowDecision, FlowTable, LiveFlow } from '../core/flow-table.ts';
import { PING_FLOW_IDLE_MS, PING_FLOWS_MAX, UDP_SWEEP_MS } from '../core/limits.ts';

export class PingFlows {
  readonly #table: FlowTable;
  readonly #now: () => number;
  /** The one used longest ago first. */
  readonly #flows = new Map<string, PingFlow>();
  #sweep: NodeJS.Timeout | undefined;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(table: FlowTable, now: () => number) {
    this.#table = table;
    this.#now = now;
  }

  /** Counts a request; gives the one to pass on, whose answer is counted. */
  note(request: EchoRequest, tuple: FlowTuple, decision: FlowDecision): EchoRequest {
    const key = `${tuple.source.address} ${tuple.source.port} ${tuple.destination.address}`;
    let flow = this.#flows.get(key);
    if (flow !== undefined && !flow.isDecided(decision)) {
      this.#end(key, flow, 'the rules have changed');
      flow = undefined;
    }
    if (flow === undefined) {
      if (this.#flows.size >= PING_FLOWS_MAX) return request;
      flow = new PingFlow(tuple, decision, () => this.#kill(key));
      flow.id = this.#table.begin(flow);
      this.#sweep ??= setInterval(() => this.#forgetIdle(), UDP_SWEEP_MS).unref();
    }
    // Set anew, so that it stands last.
    this.#flows.delete(key);
    this.#flows.set(key, flow);
    return flow.pass(request, this.#now());
  }

  close(): void {
    for (const [key, flow] of this.#flows) this.#end(key, flow, 'netproxy stopped', 'aborted');
  }

  #forgetIdle(): void {
    const before = this.#now() - PING_FLOW_IDLE_MS;
    for (const [key, flow] of this.#flows) {
      if (flow.usedAt > before) break;
      this.#end(key, flow, 'no more pings');
    }
  }

  /** The next ping begins another one. */
  #kill(key: string): void {
    const flow = this.#flows.get(key);
    if (flow !== undefined) this.#end(key, flow, 'by an operator', 'killed');
  }

  #end(key: string, flow: PingFlow, message: string, result: 'idle' | 'killed' | 'aborted' = 'idle'): void {
    this.#flows.delete(key);
    this.#table.end(flow.id, result, message);
    if (this.#flows.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }
}

class PingFlow implements LiveFlow {
  readonly tuple: FlowTuple;
  readonly decision: FlowDecision;
  readonly bastion = undefined;
  readonly openMs = undefined;
  readonly kill: () => void;
  /** Of the table. */
  id = 0;
  usedAt = 0;
  bytesOut = 0;
  bytesIn = 0;
  #answered = false;

  constructor(tuple: FlowTuple, decision: FlowDecision, kill: () => void) {
    this.tuple = tuple;
    this.decision = decision;
    this.kill = kill;
  }

  get state(): LiveFlow['state'] {
    return this.#answered ? 'open' : 'opening';
  }

  isDecided({ kind, upstream, rule }: FlowDecision): boolean {
    const { decision } = this;
    return kind === decision.kind && upstream === decision.upstream && rule.where === decision.rule.where;
  }

  pass(request: EchoRequest, now: number): EchoRequest {
    this.usedAt = now;
    this.bytesOut += request.payload.length;
    const answered = (bytes: number): void => {
      this.#answered = true;
      this.bytesIn += bytes;
    };
    return {
      ...{ protocol: request.protocol, family: request.family, whole: request.whole },
      ...{ identifier: request.identifier, source: request.source, destination: request.destination },
      payload: request.payload,
      answer(payload) {
        answered(payload.length);
        request.answer(payload);
      },
      refuse: (reason) => request.refuse(reason),
      tooBig: (mtu) => request.tooBig(mtu),
    };
  }
}
