import { SSH_OPENS_MAX, SSH_OPENS_PER_TARGET_MAX } from '../core/limits.ts';
import type { PendingDial } from './dial.ts';

/**
 * Decides which channel open goes out next. Opens under way are bounded in total and by target
 * address; the rest wait, and targets take turns, so that a target that never answers neither holds
 * up the others nor uses up sshd's file descriptors.
 */
export class OpenQueue {
  readonly #waiting = new Map<string, PendingDial[]>();
  readonly #underWay = new Map<string, number>();
  #live = 0;
  #waitingCount = 0;

  /** Takes a dial in. True when it may go out at once; otherwise it waits for `next`. */
  admit(dial: PendingDial): boolean {
    const address = dial.target.address;
    if (!this.#waiting.has(address) && this.#hasRoom(address)) {
      this.#count(address);
      return true;
    }
    this.#waitingCount++;
    const queue = this.#waiting.get(address);
    if (queue === undefined) this.#waiting.set(address, [dial]);
    else queue.push(dial);
    return false;
  }

  /** The next dial that may go out, if any. */
  next(): PendingDial | undefined {
    if (this.#live >= SSH_OPENS_MAX) return undefined;
    for (const [address, queue] of this.#waiting) {
      if (!this.#hasRoom(address)) continue;
      let dial = this.#shift(queue);
      while (dial?.over === true) dial = this.#shift(queue);
      // Its next one is to wait until the other targets had their turn.
      this.#waiting.delete(address);
      if (queue.length > 0) this.#waiting.set(address, queue);
      if (dial === undefined) continue;
      this.#count(address);
      return dial;
    }
    return undefined;
  }

  /** Nobody waits for this open any more, but sshd still works on it. */
  abandoned(): void {
    this.#live--;
  }

  /** sshd answered. `live`: the dial had not been abandoned. */
  answered(address: string, live: boolean): void {
    if (live) this.#live--;
    const left = (this.#underWay.get(address) ?? 1) - 1;
    if (left === 0) this.#underWay.delete(address);
    else this.#underWay.set(address, left);
  }

  /** All dials that wait, which are forgotten. */
  drain(): PendingDial[] {
    const dials = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    this.#waitingCount = 0;
    return dials;
  }

  /** Dials that wait, among them some that were given up. */
  get size(): number {
    return this.#waitingCount;
  }

  #shift(queue: PendingDial[]): PendingDial | undefined {
    const dial = queue.shift();
    if (dial !== undefined) this.#waitingCount--;
    return dial;
  }

  #hasRoom(address: string): boolean {
    return this.#live < SSH_OPENS_MAX && (this.#underWay.get(address) ?? 0) < SSH_OPENS_PER_TARGET_MAX;
  }

  #count(address: string): void {
    this.#live++;
    this.#underWay.set(address, (this.#underWay.get(address) ?? 0) + 1);
  }
}
