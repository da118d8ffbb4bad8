/** The pings of the application: the policy is asked, and what answers them is chosen. */
import type { EchoRequest } from '../core/datagram.ts';
import type { RejectReason } from '../core/flow.ts';
import type { Log } from '../core/log.ts';
import { ruleFields } from '../policy/policy.ts';
import type { Policy } from '../policy/policy.ts';

export interface PingOptions {
  readonly policy: Policy;
  /** Sends pings as they are, by a bastion of the upstream. */
  readonly relay: { ping(request: EchoRequest, upstream: string): void };
  /** Sends them as they are, past every bastion. */
  readonly direct: { accept(request: EchoRequest): void };
  /** Answers them by connects through the upstream. */
  readonly probe: { accept(request: EchoRequest, upstream: string): void };
  readonly log: Log;
}

export class PingForwarder {
  readonly #options: PingOptions;

  constructor(options: PingOptions) {
    this.#options = options;
  }

  /** The policy is asked for each, since most ask once: there is no flow to remember. */
  accept(request: EchoRequest): void {
    const { policy, relay, direct, probe, log } = this.#options;
    const { family, source, destination, identifier } = request;
    const verdict = policy.decide({
      ...{ protocol: 'icmp', family },
      source: { address: source, port: identifier },
      destination: { address: destination, port: 0 },
    });
    log.debug(
      { from: source, to: destination, protocol: 'icmp', verdict: verdict.kind, ...ruleFields(verdict) },
      'ping',
    );
    if (verdict.kind === 'upstream') probe.accept(request, verdict.upstream);
    else if (verdict.kind === 'relay') relay.ping(request, verdict.upstream);
    else if (verdict.kind === 'direct') direct.accept(request);
    else if (verdict.kind === 'reject') request.refuse(reasonFor(verdict.reason));
  }
}

/** What was asked by no port cannot be refused by one. */
function reasonFor(reason: RejectReason): RejectReason {
  return reason === 'refused' ? 'prohibited' : reason;
}
