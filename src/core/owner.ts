import type { FlowTuple } from './flow.ts';

/**
 * Who opened a flow. What could not be found is undefined: the kernel tells `uid`, the rest takes a process
 * that netproxy sees in /proc (docs/rules.md). Each may be found out only when it is read.
 */
export interface Owner {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly pid?: number | undefined;
  /** Names that the process goes by: its own (/proc/PID/comm), and that of its executable. */
  readonly process?: readonly string[] | undefined;
  /** Path of the control group, as netproxy sees it. */
  readonly cgroup?: string | undefined;
  /** Number of the container, in 64 hexadecimal digits, as the path of its control group has it. */
  readonly container?: string | undefined;
}

/** Finds the owners of flows. */
export interface Owners {
  /** Undefined when no socket is known that the flow could come from. Asked only when a rule wants it. */
  ownerOf(tuple: FlowTuple): Owner | undefined;
}

/** Knows no owner. */
export const NO_OWNERS: Owners = { ownerOf: () => undefined };
