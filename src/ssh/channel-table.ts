import type { DialFailure } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import { SSH_CHANNEL_PACKET_BYTES, SSH_CHANNEL_WINDOW_INITIAL_BYTES, SSH_SHARED_MS } from '../core/limits.ts';
import { SshChannel } from './channel.ts';
import type { ChannelHost } from './channel.ts';
import type { PendingDial } from './dial.ts';
import type { Link } from './link.ts';
import { openFailure } from './open-failure.ts';
import type { OpenFailure } from './open-failure.ts';
import { OpenQueue } from './opens.ts';
import type { Scheduler } from './scheduler.ts';
import type { OpenOutcomes } from './targets.ts';
import type { ChannelEvents, OpenConfirmation, Protocol } from './protocol.ts';
import { openDirect, openSession } from './ssh2.ts';

/** An open that sshd has not answered; `dial` is undefined once nobody waits for it. */
interface Opening {
  /** Opens are answered in their order when the server answers at once. */
  readonly order: number;
  readonly target: Endpoint;
  readonly isCommand: boolean;
  dial: PendingDial | undefined;
  /** Native code joined the flow when the answer came, and has told more before the answer was dealt with. */
  sourceEnded: boolean;
  overrun: boolean;
}

const NO_COMMANDS: DialFailure = {
  reason: 'prohibited',
  message: 'the bastion does not run commands',
  upstream: true,
};

/**
 * Told of a refusal before the dial is; true when the dial has been taken elsewhere. `used` are the channels
 * that the server had at that time.
 */
export type RefusalHandler = (dial: PendingDial, failure: OpenFailure, used: number) => boolean;

/** The channels of one connection by number. A number is free again when both sides have closed. */
export class ChannelTable implements ChannelEvents, ChannelHost {
  readonly protocol: Protocol;
  readonly bastion: string | undefined;
  readonly #scheduler: Scheduler;
  /** Set when native code moves the bytes of flows. */
  link: Link | undefined;
  readonly #slots: (Opening | SshChannel | undefined)[] = [];
  readonly #free: number[] = [];
  /** Commands that the server was asked to run, by the number of their channel. */
  readonly #commands = new Map<number, PendingDial>();
  /** Commands that run, by the number of their channel. */
  readonly #running = new Map<number, PendingDial>();
  readonly #queue = new OpenQueue();
  readonly #outcomes: OpenOutcomes | undefined;
  readonly #takeRefused: RefusalHandler | undefined;
  #retired = false;
  #lastOrder = 0;
  #lastUsed = -1;
  #turnsTakenAt = -Infinity;
  #limits = true;

  constructor(
    protocol: Protocol,
    scheduler: Scheduler,
    outcomes?: OpenOutcomes,
    takeRefused?: RefusalHandler,
    bastion?: string,
  ) {
    this.bastion = bastion;
    this.#outcomes = outcomes;
    this.#takeRefused = takeRefused;
    this.protocol = protocol;
    this.#scheduler = scheduler;
  }

  /** Channels and opens, those that wait for their turn too. */
  get size(): number {
    return this.#slots.length - this.#free.length + this.#queue.size;
  }

  /** Opens that wait for their turn. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Channels in which a command runs. */
  get commands(): number {
    return this.#running.size;
  }

  /** The connection is to end with its last channel: tells the commands, also those that are yet to start. */
  retire(): void {
    this.#retired = true;
    for (const dial of this.#running.values()) dial.retired?.();
  }

  /** Sends the open for a dial, now or when its turn comes. */
  open(dial: PendingDial): void {
    if (this.#queue.admit(dial)) this.#send(dial);
  }

  schedule(channel: SshChannel): void {
    this.#scheduler.add(channel);
  }

  used(id: number): void {
    if (this.link !== undefined) {
      this.link.native.used(id);
      return;
    }
    if (id === this.#lastUsed) return;
    if (this.#lastUsed >= 0) this.#turnsTakenAt = performance.now();
    this.#lastUsed = id;
  }

  /** Uploads are held to the server's windows alone, and not to less while others use the connection. */
  keepToWindows(): void {
    this.#limits = false;
    this.link?.native.keepToWindows();
  }

  shared(): boolean {
    if (!this.#limits) return false;
    if (this.link !== undefined) return this.link.native.shared();
    return performance.now() - this.#turnsTakenAt < SSH_SHARED_MS;
  }

  release(id: number): void {
    this.#slots[id] = undefined;
    this.#running.delete(id);
    this.#free.push(id);
  }

  confirmed(id: number, info: OpenConfirmation): void {
    const opening = this.#slots[id];
    if (opening === undefined || opening instanceof SshChannel) return;
    if (!opening.isCommand) this.#outcomes?.confirmed(opening.target);
    const dial = this.#answered(opening);
    const channel = new SshChannel(id, this, info, this.link !== undefined && dial?.flow !== undefined);
    this.#slots[id] = channel;
    if (dial === undefined) channel.abort();
    if (dial?.command !== undefined) this.#run(dial, dial.command, channel);
    else dial?.open(channel);
    // Only now it has what is to be taken from it.
    if (opening.overrun) channel.abort();
    if (opening.sourceEnded) channel.sourceEnded();
    this.#sendNext();
  }

  refused(id: number, reason: number, description: string): void {
    const opening = this.#slots[id];
    if (opening === undefined || opening instanceof SshChannel) return;
    this.release(id);
    this.#forget(id, opening.dial);
    const failure = openFailure(reason, description);
    if (!opening.isCommand) this.#outcomes?.failed(opening.target, failure);
    const dial = this.#answered(opening);
    if (dial?.command !== undefined) {
      dial.fail({ ...NO_COMMANDS, message: `${NO_COMMANDS.message} (${failure.message})` });
    } else if (dial !== undefined && this.#takeRefused?.(dial, failure, this.#usedBefore(opening)) !== true) {
      dial.fail(failure);
    }
    this.#sendNext();
  }

  data(id: number, data: Buffer): void {
    this.#channel(id)?.data(data);
  }

  errors(id: number, data: Buffer): void {
    this.#channel(id)?.errors(data);
  }

  answered(id: number, done: boolean): void {
    const dial = this.#commands.get(id);
    const channel = this.#channel(id);
    if (dial === undefined || channel === undefined) return;
    this.#commands.delete(id);
    dial.abandon = undefined;
    if (done) {
      this.#running.set(id, dial);
      dial.open(channel);
      if (this.#retired) dial.retired?.();
      return;
    }
    channel.abort();
    dial.fail(NO_COMMANDS);
  }

  exited(id: number, status: number): void {
    const channel = this.#channel(id);
    if (channel !== undefined) channel.outcome.status = status;
  }

  /** The application has closed its half, and native code has sent all and an EOF. */
  sourceEnded(id: number): void {
    const slot = this.#slots[id];
    if (slot instanceof SshChannel) slot.sourceEnded();
    else if (slot !== undefined) slot.sourceEnded = true;
  }

  /** The server sent more than it was invited to. */
  overrun(id: number): void {
    const slot = this.#slots[id];
    if (slot instanceof SshChannel) slot.abort();
    else if (slot !== undefined) slot.overrun = true;
  }

  adjusted(id: number, bytes: number): void {
    this.#channel(id)?.adjusted(bytes);
  }

  eof(id: number): void {
    this.#channel(id)?.eof();
  }

  closed(id: number): void {
    this.answered(id, false);
    this.#channel(id)?.peerClosed();
  }

  remoteId(id: number): number | undefined {
    return this.#channel(id)?.remoteId;
  }

  /** The connection is gone: ends all channels, and hands back the dials that were not answered. */
  lost(): PendingDial[] {
    const dials = this.#queue.drain();
    const slots = this.#slots.splice(0);
    this.#free.length = 0;
    for (const dial of this.#commands.values()) dial.abandon = undefined;
    for (const [id, slot] of slots.entries()) {
      if (slot instanceof SshChannel) slot.lost();
      else if (slot?.dial !== undefined) {
        const { dial } = slot;
        dial.abandon = undefined;
        if (this.#forget(id, dial)) this.#lostAfterAnswer(id, dial);
        else dials.push(dial);
      }
    }
    dials.push(...this.#commands.values());
    this.#commands.clear();
    this.#running.clear();
    return dials.filter((dial) => !dial.over);
  }

  #channel(id: number): SshChannel | undefined {
    const slot = this.#slots[id];
    return slot instanceof SshChannel ? slot : undefined;
  }

  /** Asks the server to run a command in the channel; its answer is awaited. */
  #run(dial: PendingDial, command: string, channel: SshChannel): void {
    this.#commands.set(channel.id, dial);
    dial.abandon = () => {
      this.#commands.delete(channel.id);
      channel.abort();
    };
    this.protocol.exec(channel.remoteId, command, true);
  }

  #send(dial: PendingDial): void {
    const id = this.#free.pop() ?? this.#slots.length;
    const isCommand = dial.command !== undefined;
    const opening: Opening = {
      ...{ order: this.#lastOrder++, target: dial.target, isCommand, dial },
      ...{ sourceEnded: false, overrun: false },
    };
    const sentAt = performance.now();
    this.#slots[id] = opening;
    dial.abandon = () => {
      opening.dial = undefined;
      this.#forget(id, dial);
      if (!isCommand) this.#outcomes?.abandoned(opening.target, performance.now() - sentAt);
      this.#queue.abandoned();
      this.#sendNext();
    };
    if (isCommand) {
      openSession(this.protocol, id, SSH_CHANNEL_WINDOW_INITIAL_BYTES, SSH_CHANNEL_PACKET_BYTES);
      return;
    }
    // Before the open, which any thread may send once it is queued: the answer must find it.
    if (dial.flow !== undefined) this.link?.native.expect(id, dial.flow);
    openDirect(
      this.protocol,
      id,
      SSH_CHANNEL_WINDOW_INITIAL_BYTES,
      SSH_CHANNEL_PACKET_BYTES,
      dial.origin,
      dial.target,
    );
  }

  /** Native code is to join no flow to the channel. True when it has done so already, and undone it now. */
  #forget(id: number, dial: PendingDial | undefined): boolean {
    return dial?.flow !== undefined && this.link?.native.unexpect(id) === true;
  }

  /** The application was told that it is connected, and may have sent: nothing can be dialled elsewhere. */
  #lostAfterAnswer(id: number, dial: PendingDial): void {
    const channel = new SshChannel(id, this, { recipient: id, sender: 0, window: 0, packetSize: 0 }, true);
    dial.open(channel);
    channel.lost();
  }

  /** Channels, and opens that were sent earlier. */
  #usedBefore({ order }: Opening): number {
    let used = 0;
    for (const slot of this.#slots) {
      if (slot instanceof SshChannel || (slot !== undefined && slot.order < order)) used++;
    }
    return used;
  }

  /** The dial that waits for the answer, if one still does. */
  #answered(opening: Opening): PendingDial | undefined {
    const dial = opening.dial;
    this.#queue.answered(opening.target.address, dial !== undefined);
    if (dial !== undefined) dial.abandon = undefined;
    return dial;
  }

  #sendNext(): void {
    for (let dial = this.#queue.next(); dial !== undefined; dial = this.#queue.next()) this.#send(dial);
  }
}
