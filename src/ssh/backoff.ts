import { SSH_RECONNECT_FIRST_MS, SSH_RECONNECT_LAST_MS } from '../core/limits.ts';

/** Delays between attempts: doubling, each drawn from its upper half so that many clients spread. */
export class Backoff {
  #next: number = SSH_RECONNECT_FIRST_MS;

  reset(): void {
    this.#next = SSH_RECONNECT_FIRST_MS;
  }

  /** Milliseconds to wait before the next attempt. */
  delay(): number {
    const delay = this.#next * (0.5 + Math.random() / 2);
    this.#next = Math.min(this.#next * 2, SSH_RECONNECT_LAST_MS);
    return delay;
  }
}
