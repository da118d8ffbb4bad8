/** Flows to addresses that stand for names: TCP to a bastion goes on under the name, anything else nowhere. */
import type { Dialer } from '../core/dialer.ts';
import type { FakeNames } from '../core/names.ts';
import type { FlowFacts, Policy, Verdict } from '../policy/policy.ts';

const refusal = (text: string, why: string): Verdict => ({
  kind: 'reject',
  reason: 'refused',
  rule: { text, where: 'built-in' },
  why,
});

/** Lets nothing out whose destination means nothing to anybody else. */
export class FakeGuard implements Policy {
  readonly #policy: Policy;
  readonly #fakes: FakeNames;

  constructor(policy: Policy, fakes: FakeNames) {
    this.#policy = policy;
    this.#fakes = fakes;
  }

  decide(flow: FlowFacts): Verdict {
    const { address } = flow.destination;
    if (!this.#fakes.isFake(address)) return this.#policy.decide(flow);
    const name = this.#fakes.nameOf(address);
    if (name === undefined) return refusal('a fake address that stands for no name', address);
    const verdict = this.#policy.decide(flow);
    // A ping is answered by a connect.
    if (verdict.kind === 'upstream' && flow.protocol !== 'udp') return verdict;
    if (verdict.kind === 'reject' || verdict.kind === 'drop' || verdict.kind === 'dns') return verdict;
    return refusal('a fake address goes by TCP to a bastion, and no other way', name);
  }
}

/** The same dialer, which dials names in the place of the addresses that stand for them. */
export function namedDialer(dialer: Dialer, fakes: FakeNames): Dialer {
  return {
    dial(target, origin, handlers) {
      const name = fakes.isFake(target.address) ? fakes.nameOf(target.address) : undefined;
      return dialer.dial(name === undefined ? target : { ...target, address: name }, origin, handlers);
    },
  };
}
