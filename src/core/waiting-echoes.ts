import type { EchoRequest } from './datagram.ts';
import { ECHO_WAIT_MS, ECHOES_WAITING_MAX } from './limits.ts';

const SEQUENCES = 2 ** 16;

/** Pings that wait for their answers: those of one socket of the application, to one host. */
export class WaitingEchoes {
  /** By the sequence number that the far end knows; the oldest first. */
  readonly #waiting = new Map<number, { readonly request: EchoRequest; readonly at: number }>();
  #next = 0;
  #usedAt = 0;

  /** Gives the sequence number for it. The oldest gives way when too many wait. */
  add(request: EchoRequest, now: number): number {
    if (this.#waiting.size >= ECHOES_WAITING_MAX) this.#waiting.delete(this.#waiting.keys().next().value!);
    const sequence = this.#next;
    this.#next = (sequence + 1) % SEQUENCES;
    this.#usedAt = now;
    this.#waiting.set(sequence, { request, at: now });
    return sequence;
  }

  /** Once for each: what comes again is nobody's. */
  answer(sequence: number, payload: Uint8Array): void {
    const found = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    found?.request.answer(payload);
  }

  /** Gives up what waits for too long. True when nothing does, and none was added for a while. */
  idle(now: number): boolean {
    for (const [sequence, { at }] of this.#waiting) {
      if (now - at >= ECHO_WAIT_MS) this.#waiting.delete(sequence);
    }
    return this.#waiting.size === 0 && now - this.#usedAt >= ECHO_WAIT_MS;
  }

  /** Hands over all that wait. */
  release(): EchoRequest[] {
    const requests = [...this.#waiting.values()].map(({ request }) => request);
    this.#waiting.clear();
    return requests;
  }
}

/** One text for each socket of the application and host. */
export function echoKey({ identifier, source, destination }: EchoRequest): string {
  return `${identifier} ${source} ${destination}`;
}
