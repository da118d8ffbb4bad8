import { formatEndpoint } from '../core/address.ts';
import type { DialFailure } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import { REFUSED_TARGETS_WARNING } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { Breaker } from './breaker.ts';
import { Health } from './health.ts';
import type { OpenFailure } from './open-failure.ts';
import { Refusals } from './refusals.ts';

/** What is told of each open that went to the server. */
export interface OpenOutcomes {
  confirmed(target: Endpoint): void;
  failed(target: Endpoint, failure: OpenFailure): void;
  /** Nobody waits any more, `waitedMs` after the open was sent. Its answer may still come. */
  abandoned(target: Endpoint, waitedMs: number): void;
}

/** What a bastion has shown of the targets behind it, over all of its connections. */
export class Targets implements OpenOutcomes {
  readonly health: Health;
  readonly #log: Log;
  readonly #refusals: Refusals;
  readonly #breaker: Breaker;
  /** Targets forbidden, in a row and since the last clear; undefined once any open was allowed. */
  #forbidden: Set<string> | undefined = new Set();
  #forwarding: boolean | undefined;

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.health = new Health(now);
    this.#refusals = new Refusals(now);
    this.#breaker = new Breaker(now);
  }

  /** Why a target need not be asked for now, if so. To be called once for each open, since it may let one try. */
  known(target: Endpoint): DialFailure | undefined {
    if (this.#refusals.holds(target)) {
      return {
        reason: 'prohibited',
        message: 'the bastion forbade this target a short while ago',
        upstream: true,
      };
    }
    if (this.#breaker.holds(target)) {
      return {
        reason: 'host-unreachable',
        message: 'the target left the last connects unanswered, and is tried again from time to time',
      };
    }
    return undefined;
  }

  /** Whether the server forwards: `no` when it forbade all that it was asked for; undefined before it was. */
  get forwarding(): boolean | undefined {
    return this.#forwarding;
  }

  confirmed(target: Endpoint): void {
    this.#forbidden = undefined;
    this.#forwarding = true;
    this.health.answered();
    this.#refusals.allowed(target);
    this.#breaker.answered(target);
  }

  failed(target: Endpoint, { reason, silent }: OpenFailure): void {
    if (!silent) this.health.answered();
    if (reason === 'prohibited') {
      this.#forwarding ??= false;
      this.#refusals.refused(target);
      this.#warn(target);
      return;
    }
    this.#forwarding = true;
    this.#forbidden = undefined;
    this.#refusals.allowed(target);
    if (!silent) this.#breaker.answered(target);
  }

  abandoned(target: Endpoint, waitedMs: number): void {
    this.#breaker.unanswered(target, waitedMs);
    this.health.unanswered(target, waitedMs);
  }

  /** A new connection or configuration: what was forbidden need not be so any more. */
  clear(): void {
    this.#refusals.clear();
    this.#breaker.clear();
    this.health.answered();
    this.#forwarding = undefined;
    this.#forbidden = new Set();
  }

  /** A server that forbids all there is asked for is most likely one that forwards nothing. */
  #warn(target: Endpoint): void {
    if (this.#forbidden === undefined) return;
    this.#forbidden.add(formatEndpoint(target));
    if (this.#forbidden.size < REFUSED_TARGETS_WARNING) return;
    this.#forbidden = undefined;
    this.#log.warn(
      { targets: REFUSED_TARGETS_WARNING },
      'the bastion forbade every target so far: look at AllowTcpForwarding, DisableForwarding and PermitOpen in its sshd_config, and at the options of the key in authorized_keys',
    );
  }
}
