/** How many questions may wait, of all clients and of one, so that a flood fills no memory. */
import { DNS_CLIENT_WAITING_MAX, DNS_WAITING_MAX, DNS_WAITING_MAX_BYTES } from '../core/limits.ts';

export class Admission {
  readonly #byClient = new Map<string, number>();
  #waiting = 0;
  #bytes = 0;
  #refused = 0;

  get counters(): { waiting: number; waitingBytes: number; refused: number } {
    return { waiting: this.#waiting, waitingBytes: this.#bytes, refused: this.#refused };
  }

  /** True when one more question may wait. Each that does has to leave. */
  enter(client: string, bytes: number): boolean {
    const own = this.#byClient.get(client) ?? 0;
    if (
      this.#waiting >= DNS_WAITING_MAX ||
      own >= DNS_CLIENT_WAITING_MAX ||
      this.#bytes + bytes > DNS_WAITING_MAX_BYTES
    ) {
      this.#refused++;
      return false;
    }
    this.#waiting++;
    this.#bytes += bytes;
    this.#byClient.set(client, own + 1);
    return true;
  }

  leave(client: string, bytes: number): void {
    this.#waiting--;
    this.#bytes -= bytes;
    const left = (this.#byClient.get(client) ?? 1) - 1;
    if (left === 0) this.#byClient.delete(client);
    else this.#byClient.set(client, left);
  }
}
