import type { Endpoint, RejectReason } from './flow.ts';
import type { ByteSink, ByteSource } from './stream.ts';

/** Why a dial failed: what the application is to see, and what the log is to say. */
export interface DialFailure {
  readonly reason: RejectReason;
  /** The far end's own words, or ours; for people, never parsed. */
  readonly message: string;
  /** The upstream's own doing, not the target's: another upstream may well open it. */
  readonly upstream?: true;
  /** No bastion was connected that could have been asked, so nothing is said of the target. */
  readonly absent?: true;
}

/** How a channel ended. `finished`: both directions ended in order. */
export type ChannelEnd = 'finished' | 'reset-by-peer' | 'aborted' | 'upstream-lost';

/** An open conversation with the far end. */
export interface Channel {
  /** The bastion that carries it, if one does. */
  readonly bastion?: string;
  /** The flow that waited is accepted by `start`, or was before. */
  readonly accepts?: boolean;
  /**
   * Starts the exchange: bytes are pulled from `source` as the upstream has room and pushed into
   * `sink` as they arrive. Called exactly once, in the turn in which the channel was handed over.
   * `closed` is called exactly once, after which neither half is touched again.
   */
  start(source: ByteSource, sink: ByteSink, closed: (end: ChannelEnd) => void): void;
  /** The source has bytes again, or has ended. Cheap; may be called when nothing waits. */
  sourceReady(): void;
  /** The sink's queue fell below its mark: the far end may be invited to send again. */
  sinkDrained(): void;
  /** Brings the accounts of both halves up to date, where native code moves their bytes. */
  account?(): void;
  /** Ends both directions at once. */
  abort(): void;
}

export interface DialHandlers {
  /**
   * The engine's flow that waits for the answer. It may be accepted by native code as soon as the far end has
   * answered, which is before `opened` of a channel that `accepts`; should the dial end otherwise all the same, rejecting the flow resets it.
   */
  readonly flow?: number;
  opened(channel: Channel): void;
  failed(failure: DialFailure): void;
}

/** A dial under way. */
export interface Dial {
  /** The application gave up. No handler is called afterwards; a channel that opens late is closed. */
  cancel(): void;
}

/** Something that opens conversations with far ends. A bastion or a group of bastions is one. */
export interface Dialer {
  /**
   * Dials `target` on behalf of `origin`. Exactly one handler is called, in a later turn, unless the
   * dial is cancelled before.
   */
  dial(target: Endpoint, origin: Endpoint, handlers: DialHandlers): Dial;
}

/** What became of a command, beside the bytes that it printed. */
export interface CommandOutcome {
  /** The beginning of what it printed to stderr. */
  readonly errors: string;
  /** Its exit status, once it is known. */
  readonly status: number | undefined;
}

export interface CommandHandlers {
  /** The server started it. The channel's bytes are its stdin and stdout; `outcome` fills as it runs. */
  opened(channel: Channel, outcome: CommandOutcome): void;
  failed(failure: DialFailure): void;
  /**
   * After `opened`: the connection is being given up, and stays for as long as the command runs. Run anew, it has
   * a connection that is to last.
   */
  retired?(): void;
}

/** Something that runs commands on far ends, by the shell of the user there. */
export interface Commander {
  /** As `Dialer.dial`. Which bastion of a group runs it is chosen as for a flow. */
  exec(command: string, handlers: CommandHandlers): Dial;
}
