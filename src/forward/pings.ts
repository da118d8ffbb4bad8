/** The pings of the application: the policy is asked, and what answers them is chosen. */
import type { EchoRequest } from '../core/datagram.ts';
import type { FlowTuple, RejectReason } from '../core/flow.ts';
import type { FlowTable } from '../core/flow-table.ts';
import type { Log } from '../core/log.ts';
import { ruleFields } from '../policy/policy.ts';
import type { Policy } from '../policy/policy.ts';
import { PingFlows } from './ping-flow.ts';

export interface PingOptions {
  readonly policy: Policy;
  /** Sends pings as they are, by a bastion of the upstream. */
  readonly relay: { ping(request: EchoRequest, upstream: string): void };
  /** Sends them as they are, past every bastion. */
  readonly direct: { accept(request: EchoRequest): void };
  /** Answers them by connects through the upstream. */
  readonly probe: { accept(request: EchoRequest, upstream: string): void };
  readonly log: Log;
  /** Knows of the pings that something is to answer. */
  readonly flows: FlowTable;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

export class PingForwarder {
  readonly #options: PingOptions;
  readonly #flows: PingFlows;

  constructor(options: PingOptions) {
    this.#options = options;
    this.#flows = new PingFlows(options.flows, () => options.now());
  }

  /** The policy is asked for each, since most ask once. */
  accept(asked: EchoRequest): void {
    const { policy, relay, direct, probe, log } = this.#options;
    const { family, source, destination, identifier } = asked;
    const tuple: FlowTuple = {
      ...{ protocol: 'icmp', family },
      source: { address: source, port: identifier },
      destination: { address: destination, port: 0 },
    };
    const verdict = policy.decide(tuple);
    log.debug(
      { from: source, to: destination, protocol: 'icmp', verdict: verdict.kind, ...ruleFields(verdict) },
      'ping',
    );
    if (verdict.kind === 'reject') asked.refuse(reasonFor(verdict.reason));
    if (verdict.kind !== 'upstream' && verdict.kind !== 'relay' && verdict.kind !== 'direct') return;
    const request = this.#flows.note(asked, tuple, verdict);
    if (verdict.kind === 'upstream') probe.accept(request, verdict.upstream);
    else if (verdict.kind === 'relay') relay.ping(request, verdict.upstream);
    else direct.accept(request);
  }

  close(): void {
    this.#flows.close();
  }
}

/** What was asked by no port cannot be refused by one. */
function reasonFor(reason: RejectReason): RejectReason {
  return reason === 'refused' ? 'prohibited' : reason;
}
