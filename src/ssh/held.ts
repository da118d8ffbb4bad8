import type { DialFailure } from '../core/dialer.ts';
import { CONNECT_HOLD_MAX } from '../core/limits.ts';
import type { PendingDial } from './dial.ts';

/** Dials that wait for a bastion, in the order in which they came; bounded. */
export class HeldDials {
  readonly #dials = new Set<PendingDial>();
  readonly #forget = (dial: PendingDial): void => void this.#dials.delete(dial);

  get size(): number {
    return this.#dials.size;
  }

  /** Keeps the dial for `ms`, and then fails it; at once when there are too many. */
  hold(dial: PendingDial, ms: number, failure: DialFailure): void {
    if (this.#dials.size >= CONNECT_HOLD_MAX) {
      process.nextTick(() => dial.fail(failure));
      return;
    }
    this.#dials.add(dial);
    dial.handTo(this.#forget);
    dial.within(ms, failure);
  }

  /** The oldest, which is no longer held. */
  next(): PendingDial | undefined {
    const [dial] = this.#dials;
    if (dial !== undefined) this.#dials.delete(dial);
    return dial;
  }

  /** All of them, which are no longer held. */
  release(): PendingDial[] {
    const dials = [...this.#dials];
    this.#dials.clear();
    return dials;
  }
}
