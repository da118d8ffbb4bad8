/** What is known of the names that the application asked for. */
export interface Names {
  /**
   * The name whose answer last gave `address` (canonical text) to the application: lower case, without the
   * closing dot. Undefined when none did, or the answer has long expired. Cheap: asked once for each flow.
   */
  nameOf(address: string): string | undefined;
}

/** Addresses that stand for names which only the far end can look up. */
export interface FakeNames extends Names {
  isFake(address: string): boolean;
}

/** Knows no name. */
export const NO_NAMES: Names = { nameOf: () => undefined };
