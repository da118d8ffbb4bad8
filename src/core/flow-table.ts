/** Every flow under way, for operators: who, where, by which rule, how much; and what became of each. */
import type { ChannelEnd } from './dialer.ts';
import type { FlowEnd, FlowTuple, RejectReason } from './flow.ts';
import { FLOW_OWNER_LOOKUPS } from './limits.ts';
import type { Owner } from './owner.ts';

/** As a policy decides. */
export interface FlowDecision {
  /** What is done with the flow: `upstream`, `direct`, `relay`, `reject`, `drop`. */
  readonly kind: string;
  /** The bastion or group that was decided on. */
  readonly upstream?: string;
  readonly rule: { readonly text: string; readonly where: string };
  readonly why: string;
}

/**
 * Why a flow is over. Stable: logs, metrics and scripts match on these words. `finished`: in order; `aborted`:
 * netproxy stopped; `cancelled`: the application gave up before there was an answer; `killed`: by an operator;
 * `idle` and `evicted`: of UDP, unused for too long, or in the way of newer ones; a reason to reject is a
 * connect that failed.
 */
export type FlowResult =
  | FlowEnd
  | ChannelEnd
  | RejectReason
  | 'cancelled'
  | 'dropped'
  | 'killed'
  | 'idle'
  | 'evicted';

/** A flow as its owner in `forward` shows it. */
export interface LiveFlow {
  readonly tuple: FlowTuple;
  readonly decision: FlowDecision;
  readonly state: 'opening' | 'open' | 'closing';
  /** The bastion that carries it; undefined before one does. */
  readonly bastion: string | undefined;
  /** Milliseconds from the application's SYN to the far end's answer; undefined before. */
  readonly openMs: number | undefined;
  /** Bytes passed on from the application, and to it; up to date when they are read. */
  readonly bytesOut: number;
  readonly bytesIn: number;
  /** Ends it at once, with `killed` as its result. */
  kill(): void;
}

export interface FlowEntry {
  /** Never used again in the life of the process. */
  readonly id: number;
  readonly flow: LiveFlow;
  /** The name that the application asked for to have the address. */
  readonly name: string | undefined;
  readonly owner: Owner | undefined;
  /** Milliseconds of the table's clock. */
  readonly startedAt: number;
}

/** A flow that is over. */
export interface EndedFlow extends FlowEntry {
  readonly result: FlowResult;
  /** The far end's words or ours, for people. */
  readonly message: string;
  readonly durationMs: number;
}

export interface FlowTableOptions {
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly nameOf: (address: string) => string | undefined;
  /** Asked about each new flow, but no more often than `FLOW_OWNER_LOOKUPS`. */
  readonly ownerOf: (tuple: FlowTuple) => Owner | undefined;
  readonly ended: (flow: EndedFlow) => void;
}

const NOTHING: FlowTableOptions = {
  now: () => performance.now(),
  nameOf: () => undefined,
  ownerOf: () => undefined,
  ended: () => {},
};

const SECOND_MS = 1000;

/** Holds no more flows than the engine and the tables of UDP and pings do, which bound it. */
export class FlowTable {
  readonly #options: FlowTableOptions;
  readonly #entries = new Map<number, FlowEntry>();
  #lastId = 0;
  #lookups = 0;
  #lookupsSince = -Infinity;

  constructor(options: FlowTableOptions = NOTHING) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** In the order of their beginning. */
  entries(): IterableIterator<FlowEntry> {
    return this.#entries.values();
  }

  get(id: number): FlowEntry | undefined {
    return this.#entries.get(id);
  }

  /** Takes a flow in; returns the number to `end` it by. */
  begin(flow: LiveFlow): number {
    const entry = this.#entry(flow);
    this.#entries.set(entry.id, entry);
    return entry.id;
  }

  end(id: number, result: FlowResult, message: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#tell(entry, result, message);
  }

  /** Tells of a flow that was over as soon as it was decided on. */
  turnedAway(tuple: FlowTuple, decision: FlowDecision, result: FlowResult, message: string): void {
    this.#tell(this.#entry(new TurnedAway(tuple, decision)), result, message);
  }

  #entry(flow: LiveFlow): FlowEntry {
    const { now, nameOf } = this.#options;
    const id = ++this.#lastId;
    const name = nameOf(flow.tuple.destination.address);
    return { id, flow, name, owner: this.#ownerOf(flow.tuple), startedAt: now() };
  }

  /** The kernel is asked while there is a socket to ask about; in a burst of connects, about the first ones. */
  #ownerOf(tuple: FlowTuple): Owner | undefined {
    const now = this.#options.now();
    if (now - this.#lookupsSince >= SECOND_MS) {
      this.#lookupsSince = now;
      this.#lookups = 0;
    }
    if (this.#lookups >= FLOW_OWNER_LOOKUPS) return undefined;
    this.#lookups++;
    return this.#options.ownerOf(tuple);
  }

  #tell(entry: FlowEntry, result: FlowResult, message: string): void {
    const durationMs = this.#options.now() - entry.startedAt;
    this.#options.ended({ ...entry, result, message, durationMs });
  }
}

class TurnedAway implements LiveFlow {
  readonly tuple: FlowTuple;
  readonly decision: FlowDecision;
  readonly state = 'closing';
  readonly bastion = undefined;
  readonly openMs = undefined;
  readonly bytesOut = 0;
  readonly bytesIn = 0;

  constructor(tuple: FlowTuple, decision: FlowDecision) {
    this.tuple = tuple;
    this.decision = decision;
  }

  kill(): void {}
}
