import type { ByteSink, ByteSource } from './stream.ts';

/** One end of a transport conversation. `address` is canonical text (RFC 5952 for IPv6). */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export type Family = 4 | 6;

/**
 * What the application asked for, as the TUN saw it. *Outbound* always means leaving the
 * application: `source` is the application's own end.
 */
export interface FlowTuple {
  /** `icmp`: pings, over IPv6 too. The source has their identifier for a port, the destination has 0. */
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  readonly family: Family;
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

/**
 * Why a connect is answered with an error, and what the application's connect(2) returns:
 * `refused` ECONNREFUSED (RST); `network-unreachable` ENETUNREACH (ICMP 3/0, ICMPv6 1/0);
 * `host-unreachable` EHOSTUNREACH (ICMP 3/1, ICMPv6 1/3), also for time-outs, since no ICMP error
 * gives ETIMEDOUT; `prohibited` EHOSTUNREACH (ICMP 3/13) or, over IPv6, EACCES (ICMPv6 1/1).
 */
export type RejectReason = 'refused' | 'network-unreachable' | 'host-unreachable' | 'prohibited';

/** How a flow ended. `finished`: both directions were closed in order. */
export type FlowEnd = 'finished' | 'reset-by-app' | 'aborted' | 'timed-out';

/** What a flow tells its owner. Calls never nest: each comes from the engine's own turn. */
export interface FlowHandlers {
  /** The source has bytes, or has ended. */
  readable(): void;
  /** The sink's queue fell below its low-water mark after having been above the high one. */
  drained(): void;
  /** The flow is over and its number may be used again. Called exactly once, also before `accept`. */
  closed(end: FlowEnd): void;
}

/**
 * One TCP conversation that an application opened and that waits for, or has, its answer.
 * Before `accept` the application sits in connect(2): nothing has been acknowledged.
 */
export interface Flow {
  readonly id: number;
  readonly tuple: FlowTuple;
  readonly source: ByteSource;
  readonly sink: ByteSink;
  /** Bytes from the application that were passed on. */
  readonly bytesOut: number;
  /** Bytes for the application that were taken over from the upstream. */
  readonly bytesIn: number;
  /** Set once, before the handler that received the flow returns. */
  handlers: FlowHandlers | undefined;
  /** The far end has answered: sends the SYN-ACK. */
  accept(): void;
  /** The far end cannot be had: the application's connect(2) fails with the errno of `reason`. */
  reject(reason: RejectReason): void;
  /** Forgets a flow that waits for its answer without a word: its SYN counts as lost. */
  drop(): void;
  /** Ends both directions at once; the application sees ECONNRESET. */
  abort(): void;
}
