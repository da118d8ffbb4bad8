import type { Channel, CommandHandlers, Dial, DialFailure, DialHandlers } from '../core/dialer.ts';
import type { Endpoint } from '../core/flow.ts';
import type { SshChannel } from './channel.ts';

/** In the place of a target and an origin, for a command: it has none. */
const NOWHERE: Endpoint = { address: '', port: 0 };

/** What can take a dial over that was not answered yet. */
export interface DialTaker {
  adopt(dial: PendingDial): void;
}

/** Where a dial goes when the bastion that has it cannot answer it. */
export interface Resort extends DialTaker {
  /** True when the dial is tried elsewhere, although it was answered so. */
  retry(dial: PendingDial, failure: DialFailure): boolean;
}

/** A dial from the application's SYN to its answer, over as many connections as that takes. */
export class PendingDial implements Dial {
  readonly target: Endpoint;
  readonly origin: Endpoint;
  /** Set when it is a command that is to be run, and no target reached. */
  readonly command: string | undefined;
  /** Set while an open is on its way: told when nobody waits for the answer any more. */
  abandon: (() => void) | undefined;
  /** None: it waits where it is. */
  resort: Resort | undefined;
  /** Of a command, as `CommandHandlers.retired`. */
  retired: (() => void) | undefined;
  readonly #handlers: DialHandlers;
  #timer: NodeJS.Timeout | undefined;
  #over = false;
  /** Told once, when the dial ends or has another owner. */
  #ended: (dial: PendingDial) => void;

  constructor(
    target: Endpoint,
    origin: Endpoint,
    handlers: DialHandlers,
    ended: (dial: PendingDial) => void,
    command?: string,
  ) {
    this.command = command;
    this.target = target;
    this.origin = origin;
    this.#handlers = handlers;
    this.#ended = ended;
  }

  /** A dial that runs `command` instead of reaching a target. */
  static ofCommand(command: string, told: CommandHandlers): PendingDial {
    const handlers: DialHandlers = {
      opened: (channel) => told.opened(channel, (channel as SshChannel).outcome),
      failed: (failure) => told.failed(failure),
    };
    const dial = new PendingDial(NOWHERE, NOWHERE, handlers, () => {}, command);
    dial.retired = () => told.retired?.();
    return dial;
  }

  /** The engine's flow that waits for the answer. */
  get flow(): number | undefined {
    return this.#handlers.flow;
  }

  /** Answered, failed or cancelled. */
  get over(): boolean {
    return this.#over;
  }

  /** Another owner, who is told of the end from now on. The one before is told that it is no longer his. */
  handTo(ended: (dial: PendingDial) => void): void {
    const before = this.#ended;
    this.#ended = ended;
    before(this);
  }

  /** Fails with `failure` unless something else happens within `ms`. Replaces the deadline before. */
  within(ms: number, failure: DialFailure): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.fail(failure), ms);
  }

  open(channel: Channel): void {
    if (this.#end()) this.#handlers.opened(channel);
  }

  fail(failure: DialFailure): void {
    if (!this.#over && this.resort?.retry(this, failure) === true) return;
    if (this.#end()) this.#handlers.failed(failure);
  }

  cancel(): void {
    this.#end();
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#ended(this);
    this.abandon?.();
    this.abandon = undefined;
    return true;
  }
}
