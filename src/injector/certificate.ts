/**
 * Certificates of the webhook. Each comes with an authority of its own, whose key is thrown away once it has signed:
 * nothing that is kept can sign, and to renew the one is to renew the other.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { TLS_CLOCK_SKEW_MS, TLS_LIFETIME_MS, TLS_RENEW_BEFORE_MS } from '../core/limits.ts';
import type { KeyPair } from './webcrypto.ts';

/** PEM texts. */
export interface Generation {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

/** P-256: every TLS stack has it, and a signature costs a fraction of one by RSA. */
const CURVE = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** Signs a certificate for these names or addresses, the first of which is the subject; `now` in milliseconds since 1970. */
export async function makeGeneration(names: readonly string[], now: number): Promise<Generation> {
  // Loaded here, since most processes never make one: 20 MB and 200 ms.
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const { subtle } = globalThis.crypto;
  const newKeys = (): Promise<KeyPair> => subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const [signer, server] = await Promise.all([newKeys(), newKeys()]);
  const times = {
    notBefore: new Date(now - TLS_CLOCK_SKEW_MS),
    notAfter: new Date(now + TLS_LIFETIME_MS),
    signingAlgorithm: CURVE,
  };
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...times,
    // With the time: two authorities in one bundle are told apart by their names, too.
    name: `CN=netproxy injector ${new Date(now).toISOString()}`,
    keys: signer,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(signer.publicKey),
    ],
  });
  const certificate = await x509.X509CertificateGenerator.create({
    ...times,
    // A common name has at most 64 characters; what counts are the alternative names.
    subject: 'CN=netproxy injector',
    issuer: authority.subject,
    publicKey: server.publicKey,
    signingKey: signer.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name })),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
    ],
  });
  const key = Buffer.from(await subtle.exportKey('pkcs8', server.privateKey));
  return {
    authority: pem(authority.toString('pem')),
    certificate: pem(certificate.toString('pem')),
    key: pem(
      createPrivateKey({ key, format: 'der', type: 'pkcs8' }).export({ format: 'pem', type: 'pkcs8' }),
    ),
  };
}

function pem(text: string | Buffer): string {
  return `${text.toString().trim()}\n`;
}

export type Judgement =
  | { readonly kind: 'good' | 'due'; readonly notAfter: number }
  /** `why` says what is wrong with it. */
  | { readonly kind: 'useless'; readonly why: string };

/** Whether a generation serves these names at `now`, and whether it is time to renew it. Throws at nothing. */
export function judge(
  { authority, certificate, key }: Generation,
  names: readonly string[],
  now: number,
): Judgement {
  const useless = (why: string): Judgement => ({ kind: 'useless', why });
  try {
    const [signer, served] = [new X509Certificate(authority), new X509Certificate(certificate)];
    if (!served.checkPrivateKey(createPrivateKey(key)))
      return useless('the key is not that of the certificate');
    if (!signer.ca || !served.checkIssued(signer) || !served.verify(signer.publicKey))
      return useless('the certificate is not signed by its authority');
    const missing = names.find((name) => !serves(served, name));
    if (missing !== undefined) return useless(`the certificate is not for ${missing}`);
    if (now + TLS_CLOCK_SKEW_MS < Math.max(time(signer.validFrom), time(served.validFrom)))
      return useless('the certificate is not valid yet');
    const notAfter = Math.min(time(signer.validTo), time(served.validTo));
    if (now + TLS_CLOCK_SKEW_MS > notAfter) return useless('the certificate is over');
    return { kind: now + TLS_RENEW_BEFORE_MS > notAfter ? 'due' : 'good', notAfter };
  } catch (error) {
    return useless((error as Error).message);
  }
}

function serves(certificate: X509Certificate, name: string): boolean {
  return (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;
}

/** End of a certificate in milliseconds since 1970; undefined when it is none. */
export function endOf(certificate: string): number | undefined {
  try {
    return time(new X509Certificate(certificate).validTo);
  } catch {
    return undefined;
  }
}

/** OpenSSL's form, such as "Nov 27 07:36:08 2026 GMT". */
function time(text: string): number {
  return Date.parse(text);
}
