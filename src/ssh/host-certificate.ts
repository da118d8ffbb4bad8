/** What a certificate must be for a host to be known by it (PROTOCOL.certkeys, sshd(8)). */
import { timeText, validity } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { glob } from './glob.ts';
import { verifySignature } from './signature.ts';

/**
 * Why the certificate is none for `host`, a plain name without port, at `now`; undefined when it is one. That
 * the authority is a trusted one is for the caller to know.
 */
export function certificateFault(certificate: Certificate, host: string, now: number): string | undefined {
  const { purpose, principals, criticalOptions, authority, signed, signature } = certificate;
  try {
    if (!verifySignature(authority, signed, signature)) return 'its signature is not that of its authority';
  } catch (error) {
    return `its signature cannot be verified: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (purpose !== 'host') return 'it is for users, not for hosts';
  const when = validity(certificate, now);
  if (when === 'early') return `it is not valid before ${timeText(certificate.validAfter)}`;
  if (when === 'expired') return `it expired at ${timeText(certificate.validBefore)}`;
  if (principals.length === 0) return 'it names no host';
  if (!principals.some((principal) => glob(principal.toLowerCase()).test(host.toLowerCase()))) {
    return `it is for ${principals.join(', ')}, not for ${host}`;
  }
  const [option] = criticalOptions;
  return option === undefined ? undefined : `it has the critical option "${option}", which is not known`;
}
