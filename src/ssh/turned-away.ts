import { NetproxyError } from '../core/errors.ts';
import type { AttemptFailure } from './backoff.ts';

/** A server took the connection and ended it before the login: it has enough of them, or of us. */
export class TurnedAway extends Error {
  /** `words`: what it said in place of an identification, such as "Exceeded MaxStartups". */
  constructor(words: string) {
    const said = words.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
    super(`the bastion closed the connection before the login${said === '' ? '' : `: ${said}`}`);
    this.name = 'TurnedAway';
  }
}

/** How an attempt failed, for the pace of the next one. Whatever has a code is no matter of a moment. */
export function attemptFailure(error: Error): AttemptFailure {
  return error instanceof TurnedAway || error instanceof NetproxyError ? 'turned-away' : 'absent';
}
