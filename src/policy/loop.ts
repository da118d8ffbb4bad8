import { formatEndpoint } from '../core/address.ts';
import { ERRORS } from '../core/errors.ts';
import { LOOP_ALARM_MS } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { FlowFacts, Policy, Verdict } from './policy.ts';

const OWN: Verdict = {
  kind: 'reject',
  reason: 'network-unreachable',
  rule: { text: "netproxy's own traffic is never forwarded", where: 'built-in' },
  why: 'it came back by the TUN',
};

/**
 * Refuses flows that are netproxy's own, which would go round in a circle: something takes the mark off its
 * packets, or routes them past it. The bastion's address alone is no sign: an application may use it too.
 */
export class LoopGuard implements Policy {
  readonly #inner: Policy;
  readonly #isOwn: (flow: FlowFacts) => boolean;
  readonly #log: Log;
  #toldAt = -Infinity;
  #count = 0;

  constructor(inner: Policy, isOwn: (flow: FlowFacts) => boolean, log: Log) {
    this.#inner = inner;
    this.#isOwn = isOwn;
    this.#log = log;
  }

  /** Flows that were refused for it. */
  get count(): number {
    return this.#count;
  }

  decide(flow: FlowFacts): Verdict {
    if (!this.#isOwn(flow)) return this.#inner.decide(flow);
    this.#count++;
    const now = performance.now();
    if (now - this.#toldAt >= LOOP_ALARM_MS) {
      this.#toldAt = now;
      const to = formatEndpoint(flow.destination);
      this.#log.error(
        {
          code: 'TRAFFIC_LOOP',
          hint: ERRORS.TRAFFIC_LOOP.hint,
          to,
          protocol: flow.protocol,
          count: this.#count,
        },
        `netproxy's own traffic to ${to} came back by the TUN, and is refused`,
      );
    }
    return OWN;
  }
}
