import type { EchoRequest } from '../core/datagram.ts';
import type { Policy } from '../policy/policy.ts';

export interface PingOptions {
  readonly policy: Policy;
  /** Sends pings as they are, by a bastion that can. */
  readonly relay: { ping(request: EchoRequest, upstream: string): void };
  /** Answers them by connects. */
  readonly ping: { accept(request: EchoRequest): void };
}

/** Where pings go: to the relay when all UDP to the host goes there, since it can send them as they are. */
export class PingForwarder {
  readonly #options: PingOptions;

  constructor(options: PingOptions) {
    this.#options = options;
  }

  accept(request: EchoRequest): void {
    const { policy, relay, ping } = this.#options;
    const { family, source, destination } = request;
    // No rule that names ports has port 0.
    const verdict = policy.decide({
      ...{ protocol: 'udp', family },
      source: { address: source, port: 0 },
      destination: { address: destination, port: 0 },
    });
    if (verdict.kind === 'relay') relay.ping(request, verdict.upstream);
    else ping.accept(request);
  }
}
