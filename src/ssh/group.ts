/**
 * Between hops 4 and 5 (docs/data-path.md) when an upstream is a group: which bastion a dial goes to, and
 * where it goes when that one cannot answer it any more.
 */
import type { CommandHandlers, Commander, Dial, DialFailure, DialHandlers, Dialer } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import type { Log } from '../core/log.ts';
import type { BastionStatus } from './bastion.ts';
import { Choice } from './choice.ts';
import type { Candidate, ChoicePolicy } from './choice.ts';
import { PendingDial } from './dial.ts';
import type { DialTaker, Resort } from './dial.ts';
import { HeldDials } from './held.ts';

/** A bastion as a group sees it. */
export interface GroupMember extends Candidate, DialTaker {
  readonly name: string;
  readonly status: BastionStatus;
  /** As `Bastion.readFile`. */
  readFile(path: string, maxBytes: number): Promise<Buffer>;
  /** A connect waits: it had better be back soon. */
  want(): void;
}

export interface GroupOptions {
  readonly name: string;
  readonly log: Log;
  /** Milliseconds of a monotonic clock, that of the members. */
  now(): number;
}

const STOPPED: DialFailure = { reason: 'network-unreachable', message: 'netproxy is stopping' };

/** Bastions of which any may carry a flow. */
export class Group implements Dialer, Commander, DialTaker {
  readonly #options: GroupOptions;
  readonly #held = new HeldDials();
  #choice: Choice<GroupMember>;
  #members: readonly GroupMember[] = [];
  #connectHoldMs = 0;
  #stopped = false;
  #successor: DialTaker | undefined;

  constructor(options: GroupOptions) {
    this.#options = options;
    this.#choice = new Choice('failover');
  }

  /** Takes these settings from now on. `members` are in order of preference. */
  set(policy: ChoicePolicy, members: readonly GroupMember[], connectHoldMs: number): void {
    if (policy !== this.#choice.policy) this.#choice = new Choice(policy);
    this.#members = members;
    this.#connectHoldMs = connectHoldMs;
    this.#release();
  }

  dial(target: Endpoint, origin: Endpoint, handlers: DialHandlers): Dial {
    const dial = new PendingDial(target, origin, handlers, () => {});
    this.adopt(dial);
    return dial;
  }

  exec(command: string, handlers: CommandHandlers): Dial {
    const dial = PendingDial.ofCommand(command, handlers);
    this.adopt(dial);
    return dial;
  }

  adopt(dial: PendingDial): void {
    if (dial.over) return;
    if (this.#successor !== undefined) {
      dial.resort = undefined;
      this.#successor.adopt(dial);
      return;
    }
    const member = this.#pick();
    if (member === undefined) {
      this.#hold(dial);
      return;
    }
    dial.resort = new Attempts(this, member);
    member.adopt(dial);
  }

  /** To be called when the state of a member has changed. */
  changed({ state }: BastionStatus): void {
    if (state === 'ready') this.#release();
  }

  /** Another member than those, if one is connected. */
  other(tried: ReadonlySet<GroupMember>): GroupMember | undefined {
    return this.#members.find((member) => member.ready && !tried.has(member));
  }

  /** The first bytes of a file of the member that new dials go to. */
  async readFile(path: string, maxBytes: number): Promise<Buffer> {
    const member = this.#choice.current ?? this.#members.find(({ ready }) => ready);
    if (member === undefined) throw new Error('no bastion of the group is connected');
    return member.readFile(path, maxBytes);
  }

  get inUse(): GroupMember | undefined {
    return this.#choice.current;
  }

  /** Dials that wait fail. */
  stop(): void {
    this.#stopped = true;
    for (const dial of this.#held.release()) dial.fail(STOPPED);
  }

  /** No longer an upstream: dials that wait go to `successor`, and so do those that come back. */
  retire(successor: DialTaker): void {
    this.#successor = successor;
    for (const dial of this.#held.release()) this.adopt(dial);
  }

  #pick(): GroupMember | undefined {
    const before = this.#choice.current;
    const member = this.#choice.pick(this.#members, this.#options.now());
    if (member !== before && member !== undefined && this.#choice.policy !== 'round-robin') {
      this.#options.log.info(
        { group: this.#options.name, bastion: member.name, before: before?.name },
        `new flows of the group go to ${member.name}`,
      );
    }
    return member;
  }

  #hold(dial: PendingDial): void {
    if (this.#stopped) {
      process.nextTick(() => dial.fail(STOPPED));
      return;
    }
    const reasons = this.#members.map(({ name, status }) => `${name}: ${status.reason}`);
    this.#held.hold(dial, this.#connectHoldMs, {
      reason: 'host-unreachable',
      message: `no bastion of the group is connected: ${reasons.join('; ')}`,
      absent: true,
    });
    for (const member of this.#members) member.want();
  }

  #release(): void {
    if (!this.#members.some(({ ready }) => ready)) return;
    for (const dial of this.#held.release()) this.adopt(dial);
  }
}

/** The way of one dial through the members of its group. */
class Attempts implements Resort {
  readonly #group: Group;
  readonly #tried = new Set<GroupMember>();
  #at: GroupMember;

  constructor(group: Group, at: GroupMember) {
    this.#group = group;
    this.#at = at;
  }

  adopt(dial: PendingDial): void {
    this.#group.adopt(dial);
  }

  /** What one bastion's rules forbid (PermitOpen) another's may allow. What a target says, it says to all. */
  retry(dial: PendingDial, failure: DialFailure): boolean {
    if (failure.upstream !== true) return false;
    this.#tried.add(this.#at);
    const next = this.#group.other(this.#tried);
    if (next === undefined) return false;
    this.#at = next;
    next.adopt(dial);
    return true;
  }
}
