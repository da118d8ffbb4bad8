import type { CommandHandlers, Commander, Dial, DialHandlers, Dialer } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import { SSH_DRAINING_MAX } from '../core/limits.ts';
import { withFields } from '../core/log.ts';
import type { Log } from '../core/log.ts';
import { Bastion } from './bastion.ts';
import type { Adjustable, BastionOptions, BastionStatus, FarEnd, NumberedTraffic } from './bastion.ts';
import type { DialTaker, PendingDial } from './dial.ts';
import type { GroupMember } from './group.ts';

/**
 * A bastion whose settings may change while flows run: the new connection is made before the old one
 * is given up. Until it is ready, new flows go where they went. Afterwards they go to the new one,
 * and those that are open end where they are.
 */
export class Succession implements Dialer, Commander, GroupMember {
  /** The bastion's name in the configuration. */
  readonly name: string;
  readonly #log: Log;
  #current: Bastion;
  /** Being connected, with settings that are not in use yet. */
  #next: Bastion | undefined;
  /** Given up for new flows; each is gone when its last flow has ended. */
  readonly #draining = new Map<Bastion, Promise<void>>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #moved: () => void;
  /** Since the current connection was made, what makes a host key the right one has changed. */
  #trustChanged = false;
  #generation = 1;

  /** `moved`: told when new flows go to a new connection, made by new settings. */
  constructor(options: BastionOptions, moved: () => void = () => {}) {
    this.name = options.name;
    this.#moved = moved;
    this.#log = options.log;
    this.#current = this.#make(options);
    this.#current.whenReady().then(this.#ready.resolve, this.#ready.reject);
    // Nobody asking is no error.
    this.#ready.promise.catch(() => {});
  }

  /** A bastion whose state is told while it is the current one. */
  #make(options: BastionOptions): Bastion {
    const bastion: Bastion = new Bastion({
      ...options,
      onState: (status) => {
        if (status.state === 'ready' && this.#next === bastion) this.#promote(bastion, options);
        else if (this.#current === bastion) options.onState?.(status);
      },
    });
    return bastion;
  }

  get status(): BastionStatus {
    return this.#current.status;
  }

  get ready(): boolean {
    return this.#current.status.state === 'ready';
  }

  get healthySince(): number {
    return this.#current.healthySince;
  }

  get roundTripMs(): number | undefined {
    return this.#current.roundTripMs;
  }

  get farEnd(): FarEnd {
    return this.#current.farEnd;
  }

  /** Connections in use for new flows. */
  get connections(): number {
    return this.#current.connections;
  }

  /** As `Bastion.traffic`, of the connections in use for new flows. */
  get traffic(): readonly NumberedTraffic[] {
    return this.#current.traffic;
  }

  /** Channels and opens under way, over all connections. */
  get size(): number {
    let size = this.#current.size;
    for (const bastion of this.#draining.keys()) size += bastion.size;
    return size;
  }

  start(): void {
    this.#current.start();
  }

  /** As `Bastion.whenReady`. */
  whenReady(): Promise<void> {
    return this.#ready.promise;
  }

  dial(target: Endpoint, origin: Endpoint, handlers: DialHandlers): Dial {
    return this.#current.dial(target, origin, handlers);
  }

  /** As `Bastion.readFile`. */
  readFile(path: string, maxBytes: number): Promise<Buffer> {
    return this.#current.readFile(path, maxBytes);
  }

  exec(command: string, handlers: CommandHandlers): Dial {
    return this.#current.exec(command, handlers);
  }

  /** New waits and bounds, from now on. */
  adjust(waits: Adjustable): void {
    this.#current.adjust(waits);
    this.#next?.adjust(waits);
  }

  /**
   * Connects by new settings, for as long as it takes, and then has all new flows go there. Settings
   * that were still being tried are forgotten. `trustChanged`: what makes a host key the right one is
   * not what it was. A connection to a server that is no longer trusted ends at once, with its flows,
   * and the old settings are not connected by again.
   */
  replace(options: BastionOptions, trustChanged: boolean): void {
    const generation = ++this.#generation;
    void this.#next?.stop();
    const current = this.#current;
    const next = this.#make({ ...options, persistent: true, log: withFields(options.log, { generation }) });
    this.#next = next;
    this.#trustChanged ||= trustChanged;
    if (this.#trustChanged) {
      current.whenDown(() => {
        if (this.#next === next) this.#promote(next, options);
      });
      // Those that only drain have flows too.
      const distrusted = [current, ...this.#draining.keys()].filter((each) => !each.trustedBy(options));
      if (distrusted.length > 0) {
        this.#log.warn(
          { bastion: options.name },
          'the bastion in use is no longer trusted: its flows are reset',
        );
      }
      for (const each of distrusted) each.cut(new Error('the host key is no longer trusted'));
    }
    next.start();
  }

  /** Connects anew by settings that are the same, if it is connected or about to be by new ones. */
  renew(options: BastionOptions): void {
    if (this.ready || this.#next !== undefined) this.replace(options, false);
    else this.wake();
  }

  /** As `Bastion.wake`. */
  wake(): void {
    this.#current.wake();
    this.#next?.wake();
  }

  /** As `Bastion.want`. */
  want(): void {
    this.#current.want();
  }

  /** Takes a dial over, new or from another bastion. */
  adopt(dial: PendingDial): void {
    this.#current.adopt(dial);
  }

  /**
   * Nobody dials here any more: dials that wait go to `successor`, and connections end with their last
   * flow. Resolves when they have, in bounded time.
   */
  async retire(successor: DialTaker): Promise<void> {
    void this.#next?.stop();
    this.#next = undefined;
    await Promise.all([this.#current.retire(successor), ...this.#draining.values()]);
  }

  /** Ends all connections in order. */
  async stop(): Promise<void> {
    const all = [this.#current, ...this.#draining.keys()];
    if (this.#next !== undefined) all.push(this.#next);
    this.#next = undefined;
    await Promise.all(all.map((bastion) => bastion.stop()));
  }

  #promote(next: Bastion, options: BastionOptions): void {
    const old = this.#current;
    this.#current = next;
    this.#next = undefined;
    this.#trustChanged = false;
    next.whenReady().then(this.#ready.resolve, () => {});
    options.onState?.(next.status);
    this.#log.info(
      { flows: old.size },
      'new flows go to the new connection; the old one ends with its last flow',
    );
    this.#draining.set(old, this.#drain(old, next));
    this.#moved();
    if (this.#draining.size <= SSH_DRAINING_MAX) return;
    for (const oldest of this.#draining.keys()) {
      void oldest.stop();
      return;
    }
  }

  async #drain(old: Bastion, next: Bastion): Promise<void> {
    await old.retire(next);
    this.#draining.delete(old);
    this.#log.info({}, 'the old connection has ended');
  }
}
