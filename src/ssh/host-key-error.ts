import { ERRORS, NetproxyError } from '../core/errors.ts';
import { hostName, knownHostsLine } from './known-hosts.ts';
import type { HostKeyVerdict, HostTrust } from './host-trust.ts';

const SCAN = '"netproxy keyscan';

/** As `hostKeyError`, and `first` when the key is to be remembered. */
export function judgeHostKey(
  trust: HostTrust,
  host: string,
  port: number,
  blob: Buffer,
): { readonly error: NetproxyError | undefined; readonly first: boolean } {
  try {
    const verdict = trust.check(host, port, blob);
    return { error: hostKeyError(verdict, host, port, blob), first: verdict.result === 'first' };
  } catch (error) {
    if (error instanceof NetproxyError) return { error, first: false };
    throw error;
  }
}

/** What to tell the operator of a host key that is not accepted; undefined for one that is. */
export function hostKeyError(
  verdict: HostKeyVerdict,
  host: string,
  port: number,
  blob: Buffer,
): NetproxyError | undefined {
  if (verdict.result === 'ok' || verdict.result === 'first') return undefined;
  const name = hostName(host, port);
  if (verdict.result === 'unknown') {
    return new NetproxyError(
      'HOST_KEY_UNKNOWN',
      `No key is known for ${name}, which presented ${verdict.got}.`,
      {
        hint: `${SCAN} ${name}" prints all of its keys. If that fingerprint is the bastion's, add this line to the known_hosts file: ${knownHostsLine(host, port, blob)}`,
      },
    );
  }
  if (verdict.result === 'revoked') {
    return new NetproxyError(
      'HOST_KEY_REVOKED',
      `${name} presented the key ${verdict.got}, which is revoked at ${verdict.where}.`,
    );
  }
  if (verdict.result === 'certificate') {
    const authority = verdict.where === undefined ? '' : ` (authority at ${verdict.where})`;
    return new NetproxyError(
      'HOST_CERTIFICATE_REFUSED',
      `${name} presented the key ${verdict.got}, and its certificate is not accepted: ${verdict.why}${authority}.`,
    );
  }
  const expected = verdict.expected
    .map(
      ({ type, fingerprint, where }) => `${fingerprint} (${type === undefined ? '' : `${type}, `}${where})`,
    )
    .join(', ');
  return new NetproxyError(
    'HOST_KEY_MISMATCH',
    `The host key of ${name} is not the known one. Expected ${expected}; got ${verdict.got}.`,
    {
      hint: `${ERRORS.HOST_KEY_MISMATCH.hint} ${SCAN} ${name}" prints what the server shows, to be compared.`,
    },
  );
}
