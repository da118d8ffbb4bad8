/** What an operator is told when a server let us in by none of the ways that we have. */
import { NetproxyError } from '../core/errors.ts';
import { SSH_AUTH_TRIES_MAX } from '../core/limits.ts';
import { timeText, validity } from './certificate.ts';
import type { AuthMethod, NamedCertificate } from './login.ts';

/** One way to log in, and what became of it. */
export interface Attempt {
  readonly method: AuthMethod;
  /** Such as `publickey with the ssh-ed25519 key SHA256:…`. */
  readonly label: string;
  readonly certificate?: NamedCertificate | undefined;
  /** `waiting`: not tried (yet). `skipped`: it could not be tried, or not be finished. */
  outcome: 'waiting' | 'refused' | 'accepted' | 'skipped';
  /** Why it was skipped. */
  note?: string;
}

export interface Refusal {
  readonly host: string;
  readonly user: string;
  readonly attempts: readonly Attempt[];
  /** What the server said it would take last; undefined when it did not say. */
  readonly allowed: readonly string[] | undefined;
  /** What went wrong beside the server's refusals, such as an agent that could not be reached. */
  readonly troubles: readonly string[];
  /** Tries were left out, lest the server count more than it takes. */
  readonly triesUsedUp: boolean;
  /** The server's own last words. */
  readonly words?: string | undefined;
}

const FILES: Readonly<Record<string, string>> = {
  publickey: 'identityFile or agent',
  'keyboard-interactive': 'keyboardInteractiveFile',
  password: 'passwordFile',
};

/** The error for `refusal`, judged at the time `now`. */
export function refusalError(refusal: Refusal, now: number): NetproxyError {
  const { host, user, attempts } = refusal;
  const message = `${host} refused user "${user}": ${story(refusal)}.`;
  const tried = attempts.filter(({ outcome }) => outcome === 'refused');
  const certificates = tried.flatMap(({ certificate }) => certificate ?? []);
  const stale = certificates.filter(({ certificate }) => validity(certificate, now) !== 'valid');
  if (stale.length > 0) {
    return new NetproxyError('CERTIFICATE_EXPIRED', `${stale.map(validityText(now)).join(' ')} ${message}`);
  }
  const foreign = certificates.find(({ certificate }) => !certificate.principals.includes(user));
  const hint = foreign === undefined ? hintOf(refusal) : principalHint(foreign, user);
  return new NetproxyError('SSH_AUTH_REFUSED', message, hint === undefined ? {} : { hint });
}

function story({ attempts, allowed, troubles, triesUsedUp, words }: Refusal): string {
  const of = (outcome: Attempt['outcome']): Attempt[] => attempts.filter((each) => each.outcome === outcome);
  const accepted = of('accepted').map(({ label }) => label);
  const tried = of('refused').map(({ label }) => label);
  const waiting = of('waiting').length;
  const parts = [
    accepted.length === 0 ? '' : `accepted ${accepted.join(', ')}, and wants more`,
    tried.length > 0 ? `tried ${tried.join(', ')}` : accepted.length > 0 ? '' : 'tried nothing',
    ...of('skipped').map(({ label, note }) => `gave up ${label}: ${note}`),
    ...troubles,
    triesUsedUp && waiting > 0
      ? `${waiting} more not tried, since a server closes the connection at its refusal number ${SSH_AUTH_TRIES_MAX}`
      : '',
    words === undefined ? '' : `the server said "${words}"`,
    allowed === undefined
      ? ''
      : `the server allows: ${allowed.length > 0 ? allowed.join(', ') : 'nothing that it names'}`,
  ];
  return parts.filter((part) => part !== '').join('; ');
}

function hintOf({ attempts, allowed, triesUsedUp, words }: Refusal): string | undefined {
  if (triesUsedUp || (words !== undefined && /too many/i.test(words))) {
    return 'Offer fewer keys: name the right one with identityFile; with an agent, name its .pub file.';
  }
  const open = allowed?.filter((method) => method in FILES) ?? [];
  const ours = new Set<string>(attempts.map(({ method }) => method));
  if (open.length === 0 || open.some((method) => ours.has(method))) return undefined;
  return `The server wants ${open.join(' or ')}: give ${open.map((method) => FILES[method]).join(' or ')}.`;
}

function principalHint({ name, certificate }: NamedCertificate, user: string): string {
  const whom = certificate.principals.length === 0 ? 'no user' : certificate.principals.join(', ');
  return (
    `The certificate ${name} is for ${whom}, not for "${user}": have it signed for this user (ssh-keygen -n), ` +
    'log in as another, or have the server map it (AuthorizedPrincipalsFile).'
  );
}

function validityText(now: number): (named: NamedCertificate) => string {
  return ({ name, certificate }) => {
    const { validAfter, validBefore } = certificate;
    return validity(certificate, now) === 'early'
      ? `The certificate ${name} is not valid before ${timeText(validAfter)}; the clock here says ${timeText(now)}.`
      : `The certificate ${name} expired at ${timeText(validBefore)}; it was valid from ${timeText(validAfter)}.`;
  };
}
