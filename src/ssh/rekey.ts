import { SSH_REKEY_BYTES, SSH_REKEY_DEADLINE_MS, SSH_REKEY_LOOK_MS } from '../core/limits.ts';

/** What is asked of the connection. */
export interface RekeyHost {
  /** Bytes sent and received since its begin. */
  bytes(): number;
  /** True while keys are exchanged, whoever began. */
  running(): boolean;
  begin(): void;
  /** An exchange has begun and does not end; no flow can send meanwhile. */
  stuck(): void;
}

/**
 * Asks for new keys in time: by the clock (RFC 4253 section 9), and before the cipher has had too many
 * blocks (RFC 4344 section 3.2). An exchange that the server began counts as well.
 */
export class Rekey {
  readonly #host: RekeyHost;
  readonly #intervalMs: number;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  #since: number;
  #bytes: number;
  #runningSince: number | undefined;

  /** `intervalMs`: 0 leaves it to the bytes. `now`: milliseconds of a monotonic clock. */
  constructor(host: RekeyHost, intervalMs: number, now: () => number = () => performance.now()) {
    this.#host = host;
    this.#intervalMs = intervalMs === 0 ? Infinity : intervalMs;
    this.#now = now;
    this.#since = now();
    this.#bytes = host.bytes();
    this.#timer = setInterval(() => this.#look(), Math.min(SSH_REKEY_LOOK_MS, this.#intervalMs));
  }

  /** New keys are in use. */
  done(): void {
    this.#since = this.#now();
    this.#bytes = this.#host.bytes();
    this.#runningSince = undefined;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = this.#now();
    if (this.#host.running()) {
      this.#runningSince ??= now;
      if (now - this.#runningSince < SSH_REKEY_DEADLINE_MS) return;
      this.stop();
      this.#host.stuck();
      return;
    }
    const due = now - this.#since >= this.#intervalMs;
    if (due || this.#host.bytes() - this.#bytes >= SSH_REKEY_BYTES) this.#host.begin();
  }
}
