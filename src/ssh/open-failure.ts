import type { DialFailure } from '../core/dialer.ts';
import type { RejectReason } from '../core/flow.ts';

/** Reason codes of CHANNEL_OPEN_FAILURE, RFC 4254 section 5.1. */
const ADMINISTRATIVELY_PROHIBITED = 1;
const CONNECT_FAILED = 2;
const RESOURCE_SHORTAGE = 4;

/** strerror(3) texts that sshd passes on as they are when its connect(2) failed later. */
const TEXTS: readonly (readonly [RegExp, RejectReason])[] = [
  [/refused/i, 'refused'],
  [/no route to host|host is unreachable/i, 'host-unreachable'],
  [/network is unreachable/i, 'network-unreachable'],
  [/timed out/i, 'host-unreachable'],
  // What failed at once leaves sshd without an errno; ENETUNREACH of connect(2) is by far the likeliest.
  [/^open failed$/i, 'network-unreachable'],
];

/** What an application is told when the server refused to open a channel. */
export interface OpenFailure extends DialFailure {
  /** The server waited for the target until its own time was up. */
  readonly silent: boolean;
  /** The server had no room for one more channel; `maybe` when it does not say so. */
  readonly shortage?: 'sure' | 'maybe';
}

/** What the reason and the words of a CHANNEL_OPEN_FAILURE come to. */
export function openFailure(reason: number, description: string): OpenFailure {
  const message = `bastion says: ${description === '' ? `reason ${reason}` : description}`;
  const silent = reason === CONNECT_FAILED && /timed out/i.test(description);
  const shortage = shortageOf(reason, description);
  return {
    ...{ reason: rejectReason(reason, description), message, silent },
    ...(shortage === undefined ? {} : { shortage }),
    ...(reason === ADMINISTRATIVELY_PROHIBITED || shortage === 'sure' ? { upstream: true } : {}),
  };
}

/** socket(2) without a file descriptor left fails at once, as connect(2) without a route does. */
function shortageOf(reason: number, description: string): OpenFailure['shortage'] {
  if (reason === RESOURCE_SHORTAGE || /too many open files/i.test(description)) return 'sure';
  return reason === CONNECT_FAILED && /^open failed$/i.test(description) ? 'maybe' : undefined;
}

function rejectReason(reason: number, description: string): RejectReason {
  if (reason === ADMINISTRATIVELY_PROHIBITED) return 'prohibited';
  if (reason !== CONNECT_FAILED) return 'host-unreachable';
  for (const [text, known] of TEXTS) if (text.test(description)) return known;
  return 'host-unreachable';
}
