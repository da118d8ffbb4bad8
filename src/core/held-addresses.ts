/** The addresses that the namespace has, and who wants to know when they change. */
export class HeldAddresses {
  readonly #listeners = new Set<(addresses: ReadonlySet<string>) => void>();
  #networks: readonly string[] = [];

  /** As last told: `address/prefix` of every device but loopback and the TUN. */
  get networks(): readonly string[] {
    return this.#networks;
  }

  /** Tells that these are all there are now. */
  tell(addresses: ReadonlySet<string>, networks: readonly string[]): void {
    this.#networks = networks;
    for (const listener of this.#listeners) listener(addresses);
  }

  /** Calls back at every look at the addresses, changed or not; gives the function that ends it. */
  listen(listener: (addresses: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
