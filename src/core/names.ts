import type { Endpoint } from './flow.ts';

/** What is known of the names that the application asked for. */
export interface Names {
  /**
   * The names whose answers gave `address` (canonical text) to the application, the latest first: lower case,
   * without the closing dot. None when nobody asked, or the answers have long expired. Cheap: asked once for each flow.
   */
  namesOf(address: string): readonly string[];
}

/** A resolver of a far end. */
export interface FarResolver extends Endpoint {
  /** Name of the bastion or group that it is reached through; undefined: the last resort. */
  readonly upstream: string | undefined;
}

/** Addresses that stand for names which only the far end can look up. */
export interface FakeNames {
  isFake(address: string): boolean;
  /** The one name that the address stands for. */
  nameOf(address: string): string | undefined;
}

/** Knows no name. */
export const NO_NAMES: Names = { namesOf: () => [] };
