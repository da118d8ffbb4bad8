import { SSH_CHANNEL_WINDOW_INITIAL_BYTES, SSH_CHANNEL_WINDOW_MAX_BYTES } from '../core/limits.ts';

/** A window is topped up once this part of it is used: early enough never to run dry, late enough
 * not to send an adjustment with every packet. */
const TOP_UP_DIVISOR = 10;

/**
 * The receive window of one channel. Its target doubles each time the far end filled it while the
 * reader kept up, so only downloads that need a large window get one, and it falls back when the
 * reader lags, since all of it may have to be queued.
 */
export class ReceiveWindow {
  #left: number = SSH_CHANNEL_WINDOW_INITIAL_BYTES;
  #target: number = SSH_CHANNEL_WINDOW_INITIAL_BYTES;
  #sinceGrowth = 0;

  /** Counts received bytes. False when the far end sent more than it was invited to. */
  use(bytes: number): boolean {
    this.#left -= bytes;
    this.#sinceGrowth += bytes;
    return this.#left >= 0;
  }

  /** Bytes to invite now; 0 while it is not worth a packet. The reader keeps up. */
  topUp(): number {
    if (this.#sinceGrowth >= this.#target && this.#target < SSH_CHANNEL_WINDOW_MAX_BYTES) {
      this.#target = Math.min(this.#target * 2, SSH_CHANNEL_WINDOW_MAX_BYTES);
      this.#sinceGrowth = 0;
    }
    const owed = this.#target - this.#left;
    if (owed * TOP_UP_DIVISOR < this.#target) return 0;
    this.#left += owed;
    return owed;
  }

  /** The reader lags. */
  lag(): void {
    this.#target = SSH_CHANNEL_WINDOW_INITIAL_BYTES;
    this.#sinceGrowth = 0;
  }
}
