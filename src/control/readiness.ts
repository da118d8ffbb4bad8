/**
 * Keeps the conditions of readiness true: looks at the bastions now and then, and proves once that a bastion lets
 * channels be opened, which a login does not say (AllowTcpForwarding, certificates without port forwarding).
 */
import { formatEndpoint } from '../core/address.ts';
import type { Dial, Dialer } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import { READY_LOOK_MS, READY_PROBE_RETRY_MS } from '../core/limits.ts';
import type { Health } from './health.ts';

/** How a bastion is, as far as readiness asks. */
export interface BastionState {
  readonly name: string;
  readonly state: string;
  readonly reason: string;
}

export interface ReadinessOptions {
  readonly health: Health;
  bastions(): readonly BastionState[];
  /** Where flows go that no rule sends elsewhere; undefined while there is none. */
  dialer(): Dialer | undefined;
  /** What the proof is tried with. Whether it is there does not matter, only that the bastion tries. */
  target(): Endpoint;
}

/** The bastion is told of no client of ours, since there is none. */
const ORIGIN: Endpoint = { address: '127.0.0.1', port: 0 };

export class Readiness {
  readonly #options: ReadinessOptions;
  #timer: NodeJS.Timeout | undefined;
  #proving: Dial | undefined;
  #proved = false;
  #retryAt = 0;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), READY_LOOK_MS).unref();
    this.look();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#proving?.cancel();
    this.#proving = undefined;
  }

  /** The namespace is taken over, and the self-test passed. */
  takenOver(): void {
    this.#options.health.set('takeover', true, 'the namespace is taken over');
  }

  /** A flow was opened, which proves more than a trial. */
  opened(): void {
    if (!this.#proved) this.#prove(true, 'a connection was opened');
  }

  /** Brings the conditions up to date. */
  look(): void {
    const { health } = this.#options;
    const bastions = this.#options.bastions();
    const ready = bastions.filter(({ state }) => state === 'ready').map(({ name }) => name);
    const reason =
      ready.length > 0
        ? `connected: ${ready.join(', ')}`
        : bastions.map(({ name, reason: why }) => `${name}: ${why}`).join('; ');
    health.set('bastion', ready.length > 0, reason);
    if (ready.length > 0 && !this.#proved) this.#try();
  }

  #try(): void {
    const dialer = this.#options.dialer();
    if (this.#proving !== undefined || dialer === undefined || performance.now() < this.#retryAt) return;
    const target = this.#options.target();
    const done = (): void => {
      this.#proving = undefined;
      this.#retryAt = performance.now() + READY_PROBE_RETRY_MS;
    };
    this.#proving = dialer.dial(target, ORIGIN, {
      opened: (channel) => {
        done();
        channel.abort();
        this.#prove(true, `a channel to ${formatEndpoint(target)} was opened`);
      },
      failed: ({ reason, message }) => {
        done();
        const tried = reason === 'refused' || reason === 'network-unreachable';
        if (tried) this.#prove(true, `the bastion tried to reach ${formatEndpoint(target)}`);
        else
          this.#prove(
            false,
            `opening a channel to ${formatEndpoint(target)}: ${message}; "readyTarget" names another`,
          );
      },
    });
  }

  #prove(ok: boolean, reason: string): void {
    this.#proved = ok;
    this.#options.health.set('channel', ok, reason);
  }
}
