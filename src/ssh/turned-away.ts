import { NetproxyError } from '../core/errors.ts';
import type { AttemptFailure } from './backoff.ts';

/** Somebody took the connection and ended it before the login. */
export class TurnedAway extends Error {
  /** A server did: it has enough of them, or of us. */
  readonly byServer: boolean;

  /**
   * `identified`: it had said that it is an SSH server. `words`: what it said in place of that, such as
   * "Exceeded MaxStartups". One that said nothing at all is most likely a relay (a published port of Docker,
   * a load balancer) with no server behind it.
   */
  constructor(identified: boolean, words: string) {
    const said = words.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
    super(`the bastion closed the connection before the login${said === '' ? '' : `: ${said}`}`);
    this.name = 'TurnedAway';
    this.byServer = identified || said !== '';
  }
}

/** How an attempt failed, for the pace of the next one. Whatever has a code is no matter of a moment. */
export function attemptFailure(error: Error): AttemptFailure {
  if (error instanceof TurnedAway) return error.byServer ? 'turned-away' : 'absent';
  return error instanceof NetproxyError ? 'turned-away' : 'absent';
}
