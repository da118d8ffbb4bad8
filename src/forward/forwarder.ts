/**
 * Hop 4 of 8 (docs/data-path.md): carries a flow's verdict out. Before it, src/policy decided; after it,
 * src/ssh dials.
 *
 * A flow is dialled first and answered then: the application's connect(2) returns when the far end
 * has answered, with the errno that fits.
 */
import { formatEndpoint } from '../core/address.ts';
import type { Channel, ChannelEnd, Dial, Dialer } from '../core/dialer.ts';
import type { Flow, FlowEnd, RejectReason } from '../core/flow.ts';
import type { Log } from '../core/log.ts';
import { ruleFields } from '../policy/policy.ts';
import type { Policy, Verdict } from '../policy/policy.ts';

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
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

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
      this.#reject(flow, { rule: 'stopping' }, 'network-unreachable', 'netproxy is stopping');
      return;
    }
    const verdict = this.#options.policy.decide(flow.tuple);
    const rule = ruleFields(verdict);
    if (verdict.kind === 'reject') {
      this.#reject(flow, rule, verdict.reason, 'refused by rule');
      return;
    }
    if (verdict.kind === 'drop') {
      flow.handlers = IGNORE;
      flow.drop();
      this.#options.log.info({ ...endsOf(flow), verdict: 'drop', ...rule }, 'flow dropped by rule');
      return;
    }
    if (verdict.kind === 'dns') {
      this.#options.dns.accept(flow);
      return;
    }
    const dialer = dialerOf(verdict, this.#options);
    if (dialer === undefined) {
      const name = verdict.kind === 'upstream' ? verdict.upstream : verdict.kind;
      this.#reject(flow, rule, 'network-unreachable', `no upstream is named ${name}`);
      return;
    }
    ForwardedFlow.start(flow, verdict, dialer, this.#options);
  }

  #reject(flow: Flow, rule: object, reason: RejectReason, message: string): void {
    flow.handlers = IGNORE;
    flow.reject(reason);
    this.#options.log.info(
      { ...endsOf(flow), verdict: 'reject', ...rule, reason },
      `flow rejected: ${message}`,
    );
  }
}

/** What carries a flow with this verdict, if anything does. */
export function dialerOf(verdict: Verdict, { upstreams, direct }: Carriers): Dialer | undefined {
  if (verdict.kind === 'direct') return direct;
  return verdict.kind === 'upstream' ? upstreams.get(verdict.upstream) : undefined;
}

function endsOf({ tuple }: Flow): { from: string; to: string } {
  return { from: formatEndpoint(tuple.source), to: formatEndpoint(tuple.destination) };
}

const IGNORE = { readable(): void {}, drained(): void {}, closed(): void {} };

/** One flow from its dial to its end. Ends exactly once, by the flow or by the channel. */
class ForwardedFlow {
  readonly #flow: Flow;
  readonly #verdict: Verdict;
  readonly #options: ForwarderOptions;
  readonly #started: number;
  #dial: Dial | undefined;
  #channel: Channel | undefined;
  #openMs = 0;
  #flowOver = false;
  #channelOver = false;

  /** Dials; the flow's handlers keep the object alive. */
  static start(flow: Flow, verdict: Verdict, dialer: Dialer, options: ForwarderOptions): void {
    const forwarded = new ForwardedFlow(flow, verdict, options);
    forwarded.#dialBy(dialer);
  }

  private constructor(flow: Flow, verdict: Verdict, options: ForwarderOptions) {
    this.#flow = flow;
    this.#verdict = verdict;
    this.#options = options;
    this.#started = options.now();
    flow.handlers = {
      readable: () => this.#channel?.sourceReady(),
      drained: () => this.#channel?.sinkDrained(),
      closed: (end) => this.#flowClosed(end),
    };
  }

  #dialBy(dialer: Dialer): void {
    const { destination, source } = this.#flow.tuple;
    this.#dial = dialer.dial(destination, source, {
      opened: (channel) => this.#opened(channel),
      failed: (failure) => {
        this.#channelOver = true;
        this.#flow.reject(failure.reason);
        this.#log('rejected', failure.reason, failure.message);
      },
    });
  }

  #opened(channel: Channel): void {
    this.#channel = channel;
    this.#openMs = this.#options.now() - this.#started;
    this.#flow.accept();
    channel.start(this.#flow.source, this.#flow.sink, (end) => this.#channelClosed(end));
  }

  /** The application's side is over. In order: the channel ends by itself; otherwise it is cut. */
  #flowClosed(end: FlowEnd): void {
    this.#flowOver = true;
    if (this.#channelOver) return;
    if (this.#channel === undefined) {
      this.#channelOver = true;
      this.#dial?.cancel();
      this.#log('cancelled', end, 'the application gave up');
      return;
    }
    if (end === 'finished') return;
    this.#channelOver = true;
    this.#channel.abort();
    this.#log('closed', end, 'by the application');
  }

  #channelClosed(end: ChannelEnd): void {
    if (this.#channelOver) return;
    this.#channelOver = true;
    if (end !== 'finished' && !this.#flowOver) this.#flow.abort();
    this.#log('closed', end, end === 'finished' ? 'in order' : 'by the upstream');
  }

  #log(event: string, why: string, message: string): void {
    const { log } = this.#options;
    const write = event === 'rejected' ? log.info.bind(log) : log.debug.bind(log);
    write(
      {
        ...endsOf(this.#flow),
        verdict: this.#verdict.kind === 'upstream' ? this.#verdict.upstream : this.#verdict.kind,
        ...ruleFields(this.#verdict),
        openMs: Math.round(this.#openMs * 100) / 100,
        durationMs: Math.round(this.#options.now() - this.#started),
        bytesOut: this.#flow.bytesOut,
        bytesIn: this.#flow.bytesIn,
        why,
      },
      `flow ${event}: ${message}`,
    );
  }
}
