/** A validating resolver, unbound, over a root zone of its own, signed here: it asks nobody else. */
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitForPort } from '../lab/namespaces.ts';
import type { Namespace } from '../lab/namespaces.ts';

/** Records of the zone. One of `bogus.test` is changed after it is signed. */
export const ZONE = {
  name: { v4: '198.51.100.80', v6: '2001:db8:2::80' },
  /** An IPv6 address that nothing leads to. */
  nowhere: '2001:db8:99::1',
  bogus: '198.51.100.70',
  /** More than a datagram of any common size takes, with its signature or without. */
  many: Array.from({ length: 100 }, (_, i) => `198.51.100.${i + 101}`),
} as const;

const RECORDS = `$TTL 300
. SOA ns.test. admin.test. 1 3600 900 604800 60
. NS ns.test.
ns.test. A 127.0.0.53
name.test. A ${ZONE.name.v4}
name.test. AAAA ${ZONE.name.v6}
half.test. A ${ZONE.name.v4}
half.test. AAAA ${ZONE.nowhere}
six.test. AAAA ${ZONE.name.v6}
nowhere6.test. AAAA ${ZONE.nowhere}
bogus.test. A ${ZONE.bogus}
${ZONE.many.map((address) => `many.test. A ${address}`).join('\n')}
`;

/** Makes and signs the zone in a new folder below `directory`. */
export function signZone(directory: string): void {
  const run = (command: string, ...args: string[]): void =>
    void execFileSync(command, args, { cwd: directory, stdio: 'pipe' });
  mkdirSync(directory, { recursive: true });
  const strong = ['-q', '-a', 'RSASHA256', '-b', '2048'];
  run('dnssec-keygen', ...strong, '.');
  run('dnssec-keygen', ...strong, '-f', 'KSK', '.');
  const keys = readdirSync(directory).filter((name) => name.endsWith('.key'));
  const texts = keys.map((name) => readFileSync(join(directory, name), 'utf8'));
  writeFileSync(join(directory, 'root.zone'), RECORDS + texts.join(''));
  run('dnssec-signzone', '-o', '.', '-f', 'root.signed', 'root.zone');
  const signed = readFileSync(join(directory, 'root.signed'), 'utf8');
  writeFileSync(join(directory, 'root.signed'), signed.replace(ZONE.bogus, '198.51.100.71'));
  // Flags 257: the key that signs the others (RFC 4034, 2.1.1).
  writeFileSync(join(directory, 'anchor'), texts.filter((text) => text.includes(' 257 ')).join(''));
}

/** Starts it in a namespace, with the zone in `directory`. */
export async function unbound(
  namespace: Namespace,
  address: string,
  directory: string,
): Promise<ChildProcess> {
  const file = join(directory, `unbound-${address}.conf`);
  writeFileSync(
    file,
    `server:
  interface: ${address}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "${directory}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  access-control: 0.0.0.0/0 allow
  module-config: "validator iterator"
  trust-anchor-file: "${join(directory, 'anchor')}"
  target-fetch-policy: "0 0 0 0 0"
  local-zone: "test." nodefault
remote-control:
  control-enable: no
auth-zone:
  name: "."
  zonefile: "${join(directory, 'root.signed')}"
  for-downstream: no
  for-upstream: yes
  fallback-enabled: no
`,
  );
  const child = namespace.spawn(['unbound', '-d', '-c', file], { stdio: ['ignore', 'ignore', 'inherit'] });
  await waitForPort(namespace, 53);
  return child;
}
