import { NetproxyError } from '../core/errors.ts';
import { hostName, knownHostsLine } from './known-hosts.ts';
import type { HostKeyVerdict } from './known-hosts.ts';

/** What to tell the operator of a host key that is not accepted; undefined for one that is. */
export function hostKeyError(
  verdict: HostKeyVerdict,
  host: string,
  port: number,
  blob: Buffer,
): NetproxyError | undefined {
  if (verdict.result === 'ok') return undefined;
  const name = hostName(host, port);
  if (verdict.result === 'unknown') {
    return new NetproxyError(
      'HOST_KEY_UNKNOWN',
      `No key is known for ${name}, which presented ${verdict.got}.`,
      {
        hint: `If that fingerprint is the bastion's, add this line to the known_hosts file: ${knownHostsLine(host, port, blob)}`,
      },
    );
  }
  if (verdict.result === 'revoked') {
    return new NetproxyError(
      'HOST_KEY_REVOKED',
      `${name} presented the key ${verdict.got}, which is revoked at ${verdict.where}.`,
    );
  }
  const expected = verdict.expected.map((key) => `${key.fingerprint} (${key.type}, ${key.where})`).join(', ');
  return new NetproxyError(
    'HOST_KEY_MISMATCH',
    `The host key of ${name} is not the known one. Expected ${expected}; got ${verdict.got}.`,
  );
}
