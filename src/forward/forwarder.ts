/**
 * Hop 4 of 8 (docs/data-path.md): carries a flow's verdict out. Before it, src/policy decided; after it,
 * src/ssh dials.
 *
 * A flow is dialled first and answered then: the application's connect(2) returns when the far end
 * has answered, with the errno that fits.
 */
import type { Channel, ChannelEnd, Dial, Dialer } from '../core/dialer.ts';
import type { Flow, FlowEnd, FlowTuple, RejectReason } from '../core/flow.ts';
import type { FlowDecision, FlowTable, LiveFlow } from '../core/flow-table.ts';
import type { Outcome, Policy, Verdict } from '../policy/policy.ts';

/** What answers flows itself, for which a verdict chose it. */
export interface FlowTaker {
  /** Takes a flow that waits for its answer. */
  accept(flow: Flow): void;
}

/** What carries TCP. */
export interface Carriers {
  /** Bastions and groups by name. */
  readonly upstreams: Pick<ReadonlyMap<string, Dialer>, 'get'>;
  /** Past every bastion. */
  readonly direct: Dialer;
}

export interface ForwarderOptions extends Carriers {
  readonly policy: Policy;
  /** Answers questions to resolvers. */
  readonly dns: FlowTaker;
  /** Knows of every flow but those questions. */
  readonly flows: FlowTable;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/** Of a flow that comes while netproxy stops. */
const STOPPING: FlowDecision = {
  kind: 'reject',
  rule: { text: 'stopping', where: 'built-in' },
  why: 'netproxy is stopping',
};

/** Carries the verdicts of TCP flows out. */
export class Forwarder {
  readonly #options: ForwarderOptions;
  #stopped = false;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** From now on every new flow is turned away at once; those that are open go on. */
  stop(): void {
    this.#stopped = true;
  }

  /** Takes a flow that waits for its answer. */
  accept(flow: Flow): void {
    if (this.#stopped) {
      this.#reject(flow, STOPPING, 'network-unreachable', STOPPING.why);
      return;
    }
    const verdict = this.#options.policy.decide(flow.tuple);
    if (verdict.kind === 'reject') {
      this.#reject(flow, verdict, verdict.reason, 'refused by rule');
      return;
    }
    if (verdict.kind === 'drop') {
      flow.handlers = IGNORE;
      flow.drop();
      this.#options.flows.turnedAway(flow.tuple, verdict, 'dropped', 'by rule');
      return;
    }
    if (verdict.kind === 'dns') {
      this.#options.dns.accept(flow);
      return;
    }
    const dialer = dialerOf(verdict, this.#options);
    if (dialer === undefined) {
      const name = verdict.kind === 'upstream' ? verdict.upstream : verdict.kind;
      this.#reject(flow, verdict, 'network-unreachable', `no upstream is named ${name}`);
      return;
    }
    ForwardedFlow.start(flow, verdict, dialer, this.#options);
  }

  #reject(flow: Flow, decision: FlowDecision, reason: RejectReason, message: string): void {
    flow.handlers = IGNORE;
    flow.reject(reason);
    this.#options.flows.turnedAway(flow.tuple, decision, reason, message);
  }
}

/** What carries a flow with this verdict, if anything does. */
export function dialerOf(verdict: Outcome, { upstreams, direct }: Carriers): Dialer | undefined {
  if (verdict.kind === 'direct') return direct;
  return verdict.kind === 'upstream' ? upstreams.get(verdict.upstream) : undefined;
}

const IGNORE = { readable(): void {}, drained(): void {}, closed(): void {} };

/** One flow from its dial to its end. Ends exactly once, by the flow or by the channel. */
class ForwardedFlow implements LiveFlow {
  readonly decision: Verdict;
  readonly #flow: Flow;
  readonly #flows: FlowTable;
  readonly #now: () => number;
  readonly #started: number;
  readonly #id: number;
  #dial: Dial | undefined;
  #channel: Channel | undefined;
  #openMs: number | undefined;
  #flowOver = false;
  #channelOver = false;

  /** Dials; the flow's handlers keep the object alive. */
  static start(flow: Flow, verdict: Verdict, dialer: Dialer, options: ForwarderOptions): void {
    const forwarded = new ForwardedFlow(flow, verdict, options);
    forwarded.#dialBy(dialer);
  }

  private constructor(flow: Flow, verdict: Verdict, { flows, now }: ForwarderOptions) {
    this.decision = verdict;
    this.#flow = flow;
    this.#flows = flows;
    this.#now = now;
    this.#started = now();
    flow.handlers = {
      readable: () => this.#channel?.sourceReady(),
      drained: () => this.#channel?.sinkDrained(),
      closed: (end) => this.#flowClosed(end),
    };
    this.#id = flows.begin(this);
  }

  get tuple(): FlowTuple {
    return this.#flow.tuple;
  }

  get state(): LiveFlow['state'] {
    if (this.#channel === undefined) return 'opening';
    return this.#flowOver ? 'closing' : 'open';
  }

  get bastion(): string | undefined {
    return this.#channel?.bastion;
  }

  get openMs(): number | undefined {
    return this.#openMs;
  }

  get bytesOut(): number {
    this.#channel?.account?.();
    return this.#flow.bytesOut;
  }

  get bytesIn(): number {
    this.#channel?.account?.();
    return this.#flow.bytesIn;
  }

  kill(): void {
    if (this.#channelOver) return;
    this.#channelOver = true;
    if (this.#channel === undefined) {
      this.#dial?.cancel();
      this.#flow.reject('refused');
    } else {
      this.#channel.abort();
      if (!this.#flowOver) this.#flow.abort();
    }
    this.#flows.end(this.#id, 'killed', 'by an operator');
  }

  #dialBy(dialer: Dialer): void {
    const { destination, source } = this.#flow.tuple;
    const flow = this.#flow.source.nativeSource?.flow;
    this.#dial = dialer.dial(destination, source, {
      ...(flow === undefined ? {} : { flow }),
      opened: (channel) => this.#opened(channel),
      failed: (failure) => {
        this.#channelOver = true;
        this.#flow.reject(failure.reason);
        this.#flows.end(this.#id, failure.reason, failure.message);
      },
    });
  }

  #opened(channel: Channel): void {
    this.#channel = channel;
    this.#openMs = this.#now() - this.#started;
    if (channel.accepts !== true) this.#flow.accept();
    channel.start(this.#flow.source, this.#flow.sink, (end) => this.#channelClosed(end));
  }

  /** The application's side is over. In order: the channel ends by itself; otherwise it is cut. */
  #flowClosed(end: FlowEnd): void {
    this.#flowOver = true;
    if (this.#channelOver) return;
    if (this.#channel === undefined) {
      this.#channelOver = true;
      this.#dial?.cancel();
      this.#flows.end(this.#id, 'cancelled', `the application gave up (${end})`);
      return;
    }
    if (end === 'finished') return;
    this.#channelOver = true;
    this.#channel.abort();
    this.#flows.end(this.#id, end, 'by the application');
  }

  #channelClosed(end: ChannelEnd): void {
    if (this.#channelOver) return;
    this.#channelOver = true;
    if (end !== 'finished' && !this.#flowOver) this.#flow.abort();
    this.#flows.end(this.#id, end, end === 'finished' ? 'in order' : 'by the upstream');
  }
}
