import {
  SSH_RECONNECT_DEMAND_MS,
  SSH_RECONNECT_FIRST_MS,
  SSH_RECONNECT_LAST_MS,
  SSH_TURNED_AWAY_FIRST_MS,
  SSH_TURNED_AWAY_LAST_MS,
} from '../core/limits.ts';

/**
 * Why an attempt failed, as far as the next one is concerned. `absent`: no server answered, and trying
 * costs nobody anything. `turned-away`: a server is there and wants fewer connections (MaxStartups,
 * PerSourcePenalties), or did not let us in, for which it may punish us.
 */
export type AttemptFailure = 'absent' | 'turned-away';

interface Pace {
  readonly first: number;
  readonly last: number;
}

const PACES: Readonly<Record<AttemptFailure, Pace>> = {
  absent: { first: SSH_RECONNECT_FIRST_MS, last: SSH_RECONNECT_LAST_MS },
  'turned-away': { first: SSH_TURNED_AWAY_FIRST_MS, last: SSH_TURNED_AWAY_LAST_MS },
};

/** Delays between attempts: doubling, each drawn from its upper half so that many clients spread. */
export class Backoff {
  #kind: AttemptFailure = 'absent';
  #next: number = PACES.absent.first;

  reset(): void {
    this.#kind = 'absent';
    this.#next = PACES.absent.first;
  }

  /**
   * Milliseconds to wait before the next attempt. `wanted`: connects wait, or came a short while ago, so
   * that an absent server is looked for often; one that turned us away is not, whoever waits.
   */
  delay(failure: AttemptFailure = 'absent', wanted = false): number {
    const { first, last } = PACES[failure];
    if (this.#kind !== failure) {
      this.#kind = failure;
      this.#next = first;
    }
    const delay = this.#next * (0.5 + Math.random() / 2);
    this.#next = Math.min(this.#next * 2, last);
    return wanted && failure === 'absent' ? Math.min(delay, SSH_RECONNECT_DEMAND_MS) : delay;
  }
}
