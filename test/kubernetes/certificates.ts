/** Keys and certificates of the lab's API server, made by openssl. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'];

export interface Certificates {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
  /** What tokens of service accounts are signed with, and its public half. */
  readonly tokenKey: string;
  readonly tokenPublicKey: string;
}

/** Makes them in `folder`, for a server with these names and addresses. */
export async function makeCertificates(
  folder: string,
  names: readonly string[],
  addresses: readonly string[],
): Promise<Certificates> {
  const file = (name: string): string => join(folder, name);
  const made: Certificates = {
    authority: file('ca.crt'),
    certificate: file('server.crt'),
    key: file('server.key'),
    tokenKey: file('token.key'),
    tokenPublicKey: file('token.pub'),
  };
  const authorityKey = file('ca.key');
  const out = (certificate: string, key: string): string[] => ['-keyout', key, '-out', certificate];
  await run('openssl', ['req', '-x509', ...KEY, '-subj', '/CN=lab', ...out(made.authority, authorityKey)]);
  const alternatives = [
    ...names.map((name) => `DNS:${name}`),
    ...addresses.map((address) => `IP:${address}`),
  ];
  await run('openssl', [
    ...['req', '-x509', ...KEY, '-subj', '/CN=kube-apiserver', ...out(made.certificate, made.key)],
    ...['-CA', made.authority, '-CAkey', authorityKey],
    ...['-addext', `subjectAltName=${alternatives.join(',')}`, '-addext', 'basicConstraints=CA:FALSE'],
  ]);
  await run('openssl', ['genpkey', '-algorithm', 'RSA', '-out', made.tokenKey]);
  await run('openssl', ['pkey', '-in', made.tokenKey, '-pubout', '-out', made.tokenPublicKey]);
  return made;
}

/** Writes the file by which a client finds the API server and logs in. */
export function writeKubeconfig(file: string, server: string, authority: string, token: string): void {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server, 'certificate-authority': authority } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'admin' } }],
    'current-context': 'lab',
  };
  // YAML has all of JSON.
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
}
