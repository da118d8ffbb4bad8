import { CERTIFICATE_LOOK_MS, CERTIFICATE_WARNING_MS, CERTIFICATE_WARNING_PART } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { timeText, validity } from './certificate.ts';
import type { NamedCertificate } from './login.ts';

/** Without this extension sshd refuses every channel that netproxy opens. */
const FORWARDING = 'permit-port-forwarding';

/** Warns of certificates that will not do, or not for long: each thing once. */
export class CertificateWatch {
  readonly #certificates: readonly NamedCertificate[];
  readonly #user: string;
  readonly #log: Log;
  readonly #told = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(certificates: readonly NamedCertificate[], user: string, log: Log) {
    this.#certificates = certificates;
    this.#user = user;
    this.#log = log;
  }

  /** Looks now and from then on. */
  start(): void {
    if (this.#certificates.length === 0) return;
    this.look(Date.now());
    this.#timer = setInterval(() => this.look(Date.now()), CERTIFICATE_LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks at everything as of the time `now`. */
  look(now: number): void {
    for (const { name, certificate } of this.#certificates) {
      const { validAfter, validBefore, principals, extensions } = certificate;
      const state = validity(certificate, now);
      if (!extensions.has(FORWARDING)) {
        this.#warn(name, `has no ${FORWARDING}: an OpenSSH bastion will refuse every connection`);
      }
      if (!principals.includes(this.#user)) {
        const whom = principals.length === 0 ? 'no user' : principals.join(', ');
        this.#warn(name, `is for ${whom}, not for "${this.#user}", unless the bastion maps it`);
      }
      if (state === 'early') this.#warn(name, `is not valid before ${timeText(validAfter)}`);
      else if (state === 'expired') this.#warn(name, `expired at ${timeText(validBefore)}`);
      else if (now >= validBefore - warningTime(validAfter, validBefore)) {
        this.#warn(name, `expires at ${timeText(validBefore)}`);
      }
    }
  }

  #warn(name: string, what: string): void {
    const message = `the certificate ${name} ${what}`;
    if (this.#told.has(message)) return;
    this.#told.add(message);
    this.#log.warn({ certificate: name }, message);
  }
}

/** Milliseconds before the end at which a warning is due. */
function warningTime(validAfter: number, validBefore: number): number {
  return Math.min(CERTIFICATE_WARNING_MS, (validBefore - validAfter) * CERTIFICATE_WARNING_PART);
}
