/**
 * Within hop 5 (docs/data-path.md): the connections of one bastion. The first is made by the bastion; more
 * are made while the others have many channels, and end when they are idle.
 */
import type { DialFailure } from '../core/dialer.ts';
import {
  POOL_CONNECTIONS_MAX,
  POOL_GROW_PART,
  POOL_IDLE_MS,
  POOL_POLL_MS,
  POOL_SWEEP_MS,
} from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { Backoff } from './backoff.ts';
import { ChannelLimit } from './channel-limit.ts';
import type { PendingDial } from './dial.ts';
import { HeldDials } from './held.ts';
import type { OpenFailure } from './open-failure.ts';
import { attemptFailure } from './turned-away.ts';

/** An authenticated connection. */
export interface PooledSession {
  /** Channels and opens. */
  readonly size: number;
  /** Channels among them in which commands run. */
  readonly commands: number;
  /** A person was asked to log in. */
  readonly attended: boolean;
  open(dial: PendingDial): void;
  /** Tells the commands that the connection is given up (`CommandHandlers.retired`). */
  retire(): void;
  close(): Promise<void>;
}

export interface PoolOptions<S extends PooledSession> {
  readonly log: Log;
  /** Begins one more connection, which is later given to `add`, or to `failed`. May throw. */
  connect(): S;
  /** Sends the open of a dial, with a deadline. */
  send(session: S, dial: PendingDial): void;
  /** Milliseconds that a dial waits for room. */
  holdMs(): number;
  /** Connections at once, at most. */
  most?(): number;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

const NO_ROOM: DialFailure = {
  reason: 'host-unreachable',
  message: 'the bastion has no room for one more channel',
  upstream: true,
};

export class Pool<S extends PooledSession> {
  readonly #options: PoolOptions<S>;
  readonly #now: () => number;
  readonly #limit: ChannelLimit;
  readonly #backoff = new Backoff();
  readonly #waiting = new HeldDials();
  /** How often a dial was refused for want of room. */
  readonly #refusals = new WeakMap<PendingDial, number>();
  /** In the order in which they were made, with the time at which each was last seen in use. */
  readonly #sessions = new Map<S, number>();
  /** The number that a connection goes by, from 1 on; the number of one that has ended is given again. */
  readonly #numbers = new WeakMap<S, number>();
  #growing: S | undefined;
  #growAt = -Infinity;
  #closed = false;
  #poll: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;

  constructor(options: PoolOptions<S>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#limit = new ChannelLimit(this.#now);
  }

  /** Connections in use. */
  get sessions(): readonly S[] {
    return [...this.#sessions.keys()];
  }

  /** Those in use by their numbers, of which there are no more than connections at once. */
  get numbered(): readonly (readonly [number: number, session: S])[] {
    return this.sessions.map((session) => [this.#numbers.get(session) ?? 0, session] as const);
  }

  /** Channels and opens, of all connections. */
  get size(): number {
    let size = this.#waiting.size;
    for (const session of this.#sessions.keys()) size += session.size;
    return size;
  }

  /** A connection is authenticated. */
  add(session: S): void {
    if (this.#growing === session) {
      this.#growing = undefined;
      this.#backoff.reset();
      this.#options.log.info(
        { connections: this.#sessions.size + 1, channels: this.size },
        'one more connection to the bastion, since the others have many channels',
      );
    } else if (this.#sessions.size === 0) {
      this.#limit.forget();
    }
    const taken = new Set(this.numbered.map(([number]) => number));
    let number = 1;
    while (taken.has(number)) number++;
    this.#numbers.set(session, number);
    this.#sessions.set(session, this.#now());
    if (this.#sessions.size > 1) this.#sweep ??= setInterval(() => this.#endIdle(), POOL_SWEEP_MS);
    this.#place();
  }

  /** A connection is over. Says what it was: one in use, one that was being made, or none of ours. */
  remove(session: S, error: Error): 'used' | 'growing' | undefined {
    if (this.#growing === session) {
      this.#failed(error);
      return 'growing';
    }
    if (!this.#sessions.delete(session)) return undefined;
    if (this.#sessions.size < 2) this.#stopSweep();
    return 'used';
  }

  /** Opens on a connection with room, now or when there is one. At least one is there. */
  open(dial: PendingDial): void {
    const session = this.#pick();
    if (session !== undefined) {
      this.#options.send(session, dial);
      return;
    }
    if (this.#growing === undefined && dial.resort?.retry(dial, NO_ROOM) === true) return;
    this.#waiting.hold(dial, this.#options.holdMs(), NO_ROOM);
    this.#poll ??= setInterval(() => this.#place(), POOL_POLL_MS);
  }

  /** As `RefusalHandler`. */
  refused(dial: PendingDial, failure: OpenFailure, used: number): boolean {
    const before = this.#refusals.get(dial) ?? 0;
    const most = this.#most();
    const known = this.#limit.value;
    // Whether it was the target can only be found out on another connection.
    if (failure.shortage === 'maybe' && most === 1) return false;
    if (!this.#limit.refused(dial.target, failure, used, before > 0)) return false;
    if (this.#limit.value < known) {
      this.#options.log.info(
        { channels: used },
        `the bastion refused a channel beside ${used} others: this is taken for its limit`,
      );
    }
    if (before >= most) return false;
    this.#refusals.set(dial, before + 1);
    this.open(dial);
    return true;
  }

  /** Nothing is opened any more: gives the dials that wait. Connections go on. */
  release(): PendingDial[] {
    this.#closed = true;
    return this.drain();
  }

  /** Gives the dials that wait. */
  drain(): PendingDial[] {
    clearInterval(this.#poll);
    this.#poll = undefined;
    return this.#waiting.release();
  }

  /** Ends all connections in order. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopSweep();
    clearInterval(this.#poll);
    const all = this.sessions;
    await Promise.all(
      [...all, ...(this.#growing === undefined ? [] : [this.#growing])].map((s) => s.close()),
    );
  }

  /** The first connection with room, so that the later ones become idle. */
  #pick(): S | undefined {
    const limit = this.#limit.value;
    const roomy = this.sessions.filter(({ size }) => size < limit);
    const [first] = roomy;
    if (roomy.length === 0 || (roomy.length === 1 && first!.size >= limit * POOL_GROW_PART)) this.#grow();
    if (first !== undefined) return first;
    // A limit that was only assumed is no reason to let anybody wait, unless the wait is short.
    if (this.#limit.learnt || this.#growing !== undefined) return undefined;
    return this.sessions.reduce((least, next) => (next.size < least.size ? next : least));
  }

  #most(): number {
    if (this.sessions.some(({ attended }) => attended)) return 1;
    return this.#options.most?.() ?? POOL_CONNECTIONS_MAX;
  }

  #grow(): void {
    if (this.#closed || this.#growing !== undefined || this.#now() < this.#growAt) return;
    if (this.#sessions.size === 0 || this.#sessions.size >= this.#most()) return;
    try {
      this.#growing = this.#options.connect();
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  /** The attempt to make one more connection failed: the next one keeps the pace that servers want. */
  #failed(error: Error): void {
    this.#growing = undefined;
    if (this.#closed) return;
    const ms = this.#backoff.delay(attemptFailure(error));
    this.#growAt = this.#now() + ms;
    this.#options.log.warn(
      { connections: this.#sessions.size, retryMs: Math.round(ms) },
      `no further connection to the bastion could be made: ${error.message}`,
    );
  }

  /** Gives the dials that wait to connections with room. */
  #place(): void {
    while (this.#sessions.size > 0 && this.#waiting.size > 0) {
      const session = this.#pick();
      if (session === undefined) return;
      this.#options.send(session, this.#waiting.next()!);
    }
    clearInterval(this.#poll);
    this.#poll = undefined;
  }

  /** A command alone keeps no further connection: it is run again on another one that has room. */
  #endIdle(): void {
    const now = this.#now();
    const [, ...further] = this.sessions;
    for (const session of further) {
      const { size, commands } = session;
      if (size > commands || (commands > 0 && !this.#hasRoomBeside(session)))
        this.#sessions.set(session, now);
      else if (now - this.#sessions.get(session)! >= POOL_IDLE_MS) {
        this.#sessions.delete(session);
        this.#options.log.info({ connections: this.#sessions.size }, 'a connection that was idle has ended');
        session.retire();
        void session.close();
      }
    }
    if (this.#sessions.size < 2) this.#stopSweep();
  }

  #hasRoomBeside(session: S): boolean {
    return this.sessions.some((other) => other !== session && other.size < this.#limit.value);
  }

  #stopSweep(): void {
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }
}
