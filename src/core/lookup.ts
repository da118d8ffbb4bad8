/** The contract between who looks names up and who needs their addresses. */

export interface Found {
  /** At least one; the best first. */
  readonly addresses: readonly string[];
  /** Seconds that they hold. */
  readonly ttl: number;
}

/** Finds the addresses of a name, or of an address itself. Rejects with an Error that says why there is none. */
export type Lookup = (name: string) => Promise<Found>;
