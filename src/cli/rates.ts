/** How fast connections are, by comparing what they had carried at two times. */
import type { Connection } from '../control/connections.ts';

export interface Rated extends Connection {
  /** Bytes a second, since the look before. */
  readonly outRate: number;
  readonly inRate: number;
}

/** Of what was seen before only the last look is kept. */
export class Rates {
  #before = new Map<number, Connection>();
  #at = 0;

  /** `now`: milliseconds of a monotonic clock. A new connection is rated over its age. */
  rate(connections: readonly Connection[], now: number): Rated[] {
    const passed = (now - this.#at) / 1000;
    const rated = connections.map((connection) => {
      const before = this.#before.get(connection.id);
      const seconds = Math.max(before === undefined ? connection.ageSeconds : passed, 0.001);
      return {
        ...connection,
        outRate: Math.max(connection.bytesOut - (before?.bytesOut ?? 0), 0) / seconds,
        inRate: Math.max(connection.bytesIn - (before?.bytesIn ?? 0), 0) / seconds,
      };
    });
    this.#before = new Map(connections.map((connection) => [connection.id, connection]));
    this.#at = now;
    return rated;
  }
}
