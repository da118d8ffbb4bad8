import { POOL_CHANNELS_MAX, SHORTAGE_CHANNELS_MIN, SHORTAGE_FLOOR, SHORTAGE_MARGIN } from '../core/limits.ts';
import type { Endpoint } from '../core/flow.ts';
import type { OpenFailure } from './open-failure.ts';
import { Refusals } from './refusals.ts';

/**
 * How many channels one connection to a bastion may have, learnt from its refusals. sshd does not say when
 * it lacks a file descriptor: an unreachable target looks alike. So a refusal on a connection with many
 * channels is taken for a limit and tried on another one; refused there too, with few channels, it was
 * the target.
 */
export class ChannelLimit {
  /** Targets that looked like a limit, and were not. */
  readonly #unreachable: Refusals;
  #value = POOL_CHANNELS_MAX;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#unreachable = new Refusals(now);
  }

  get value(): number {
    return this.#value;
  }

  /** The server refused an open below what we take for its limit until then. */
  get learnt(): boolean {
    return this.#value < POOL_CHANNELS_MAX;
  }

  /**
   * An open was refused while the connection had `used` other channels; `again`: after it had been refused
   * on another connection. True when the limit was the cause, so far as is known.
   */
  refused(target: Endpoint, { shortage }: OpenFailure, used: number, again: boolean): boolean {
    if (shortage === undefined) return false;
    if (shortage === 'maybe') {
      if (used < SHORTAGE_CHANNELS_MIN) {
        if (again) {
          this.#unreachable.refused(target);
          this.forget();
        }
        return false;
      }
      if (this.#unreachable.holds(target)) return false;
    }
    this.#value = Math.min(this.#value, Math.max(used - SHORTAGE_MARGIN, SHORTAGE_FLOOR));
    return true;
  }

  /** The server may be another one now. */
  forget(): void {
    this.#value = POOL_CHANNELS_MAX;
  }
}
