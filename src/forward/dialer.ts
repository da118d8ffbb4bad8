/** A dialer that asks the policy first, for conversations that no flow of the application stands behind. */
import { familyOf } from '../core/address.ts';
import type { Dialer } from '../core/dialer.ts';
import type { Policy } from '../policy/policy.ts';
import { dialerOf } from './forwarder.ts';
import type { Carriers } from './forwarder.ts';

/** Dials by the verdict of a TCP flow from `origin` to `target`. What is dropped fails like what is rejected. */
export function policyDialer(policy: Policy, carriers: Carriers): Dialer {
  return {
    dial(target, origin, handlers) {
      const family = familyOf(target.address) ?? 4;
      const verdict = policy.decide({ protocol: 'tcp', family, source: origin, destination: target });
      const dialer = dialerOf(verdict, carriers);
      if (dialer !== undefined) return dialer.dial(target, origin, handlers);
      const reason = verdict.kind === 'reject' ? verdict.reason : 'network-unreachable';
      const later = setImmediate(() => handlers.failed({ reason, message: 'refused by rule' }));
      return { cancel: () => clearImmediate(later) };
    },
  };
}
