/** Where a command connects to, as the policy is asked; and what of it an allow-list refuses. */
import type { FlowTuple } from '../core/flow.ts';
import { SEEN_DESTINATIONS_MAX } from '../core/limits.ts';
import type { FlowFacts, Policy, Verdict } from '../policy/policy.ts';

export interface SeenDestination {
  readonly protocol: FlowTuple['protocol'];
  readonly address: string;
  /** 0 of pings. */
  readonly port: number;
  /** That the command asked for to have the address. */
  readonly name: string | undefined;
  readonly connections: number;
  /** False: refused, since the allow-list has no rule for it. */
  readonly allowed: boolean;
}

/** The destinations of one command; bounded. */
export class Seen {
  readonly #destinations = new Map<string, SeenDestination>();
  #beyond = 0;

  /** The first of each comes first. */
  get destinations(): readonly SeenDestination[] {
    return [...this.#destinations.values()];
  }

  /** Connections to destinations that there was no room for. */
  get beyond(): number {
    return this.#beyond;
  }

  note(flow: FlowFacts, name: string | undefined, allowed: boolean): void {
    const { protocol, destination } = flow;
    const key = `${protocol} ${destination.address} ${destination.port} ${name ?? ''}`;
    const before = this.#destinations.get(key);
    if (before === undefined && this.#destinations.size >= SEEN_DESTINATIONS_MAX) {
      this.#beyond++;
      return;
    }
    this.#destinations.set(key, {
      ...{ protocol, address: destination.address, port: destination.port, name },
      connections: (before?.connections ?? 0) + 1,
      allowed: allowed && before?.allowed !== false,
    });
  }
}

/** The name that a flow's destination goes by. */
export type NameOf = (flow: FlowFacts) => string | undefined;

/**
 * A policy that notes each flow. Without `allowed` all are; otherwise one for which that policy has no rule of the
 * user's, or one that refuses, is refused. Questions to resolvers are netproxy's own to answer, and are not noted.
 */
export function watchedPolicy(policy: Policy, seen: Seen, nameOf: NameOf, allowed?: Policy): Policy {
  return {
    decide(flow) {
      const verdict = policy.decide(flow);
      if (verdict.kind === 'dns') return verdict;
      const refusal = allowed === undefined ? undefined : refusalOf(allowed.decide(flow));
      seen.note(flow, nameOf(flow), refusal === undefined);
      return refusal ?? verdict;
    },
  };
}

function refusalOf(verdict: Verdict): Verdict | undefined {
  if (verdict.kind === 'direct') return undefined;
  return {
    kind: 'reject',
    reason: 'refused',
    rule: { text: 'the allow-list', where: 'built-in' },
    why: verdict.rule.where === 'built-in' ? 'no rule allows it' : `${verdict.rule.where} refuses it`,
  };
}
