import type { DialFailure } from '../core/dialer.ts';
import type { RejectReason } from '../core/flow.ts';

/** Reason codes of CHANNEL_OPEN_FAILURE, RFC 4254 section 5.1. */
const ADMINISTRATIVELY_PROHIBITED = 1;
const CONNECT_FAILED = 2;

/** strerror(3) texts that sshd passes on as they are when its connect(2) failed later. */
const TEXTS: readonly (readonly [RegExp, RejectReason])[] = [
  [/refused/i, 'refused'],
  [/no route to host|host is unreachable/i, 'host-unreachable'],
  [/network is unreachable/i, 'network-unreachable'],
  [/timed out/i, 'host-unreachable'],
  // connect(2) that failed at once leaves sshd without an errno; ENETUNREACH is by far the likeliest.
  [/^open failed$/i, 'network-unreachable'],
];

/** What an application is told when the server refused to open a channel. */
export interface OpenFailure extends DialFailure {
  /** The server waited for the target until its own time was up. */
  readonly silent: boolean;
}

export function openFailure(reason: number, description: string): OpenFailure {
  const message = `bastion says: ${description === '' ? `reason ${reason}` : description}`;
  const silent = reason === CONNECT_FAILED && /timed out/i.test(description);
  return { reason: rejectReason(reason, description), message, silent };
}

function rejectReason(reason: number, description: string): RejectReason {
  if (reason === ADMINISTRATIVELY_PROHIBITED) return 'prohibited';
  if (reason !== CONNECT_FAILED) return 'host-unreachable';
  for (const [text, known] of TEXTS) if (text.test(description)) return known;
  return 'host-unreachable';
}
