/** What was seen, in the forms in which others take it. */
import { formatEndpoint } from '../core/address.ts';
import type { Seen, SeenDestination } from './seen.ts';

/** The report of `exec --report`. */
export function reportJson(seen: Seen): string {
  const refused = seen.destinations.filter(({ allowed }) => !allowed).length;
  const report = { ok: refused === 0, refused, notShown: seen.beyond, destinations: seen.destinations };
  return `${JSON.stringify(report, undefined, 2)}\n`;
}

/** Names are what somebody's resolver said; one of other characters could end a comment and begin a rule. */
const PLAIN = /^[A-Za-z0-9_.-]+$/;

function plainly({ destinations }: Seen): readonly SeenDestination[] {
  return destinations.map((one) => (PLAIN.test(one.name ?? '') ? one : { ...one, name: undefined }));
}

const REMARK = 'Written by "netproxy record": what was connected to this time. Look at it before you use it.';

/** Rules for a configuration and for --allow: by name where there is one, and by address otherwise. */
export function asRules(seen: Seen, upstream: string): string {
  const groups = new Map<string, { key: string; protocol: string; ports: Set<number> }>();
  for (const { protocol, address, port, name } of plainly(seen)) {
    const key =
      name === undefined ? `to: [${JSON.stringify(cidrOf(address))}]` : `names: [${JSON.stringify(name)}]`;
    const group = groups.get(`${protocol} ${key}`) ?? { key, protocol, ports: new Set() };
    groups.set(`${protocol} ${key}`, group);
    group.ports.add(port);
  }
  const lines = [...groups.values()].map(({ key, protocol, ports }) => {
    const via = protocol === 'udp' ? 'relay' : upstream;
    const ported = protocol === 'icmp' ? '' : `ports: [${sorted(ports).join(', ')}], `;
    return `  - { ${key}, ${ported}protocol: ${protocol}, via: ${JSON.stringify(via)} }`;
  });
  return [`# ${REMARK}`, lines.length === 0 ? 'rules: []' : 'rules:', ...lines, ''].join('\n');
}

/**
 * The line of sshd_config that allows no more, of which only the first in the file counts. `own` is what netproxy itself
 * opens channels to. Addresses, since netproxy names no others to sshd.
 */
export function asPermitOpen(seen: Seen, own: readonly string[]): string {
  const tcp = plainly(seen).filter(({ protocol }) => protocol === 'tcp');
  const named = new Map(tcp.map((one) => [formatEndpoint(one), one.name]));
  const comments = [...named].map(
    ([endpoint, name]) => `# ${endpoint}${name === undefined ? '' : `  ${name}`}`,
  );
  const rest = own.filter((endpoint) => !named.has(endpoint));
  return [
    `# ${REMARK}`,
    '# Addresses change; where a name has many, PermitOpen cannot keep up with it.',
    ...comments,
    ...rest.map((endpoint) => `# ${endpoint}  netproxy itself`),
    `PermitOpen ${[...named.keys(), ...rest].join(' ')}`,
    '',
  ].join('\n');
}

/** A NetworkPolicy (networking.k8s.io/v1) for a pod that connects without netproxy. It cannot speak of pings. */
export function asNetworkPolicy(seen: Seen): string {
  const groups = new Map<string, SeenDestination[]>();
  for (const one of plainly(seen)) {
    if (one.protocol !== 'icmp') groups.set(one.address, [...(groups.get(one.address) ?? []), one]);
  }
  const rules = [...groups].flatMap(([address, all]) => {
    const names = [...new Set(all.flatMap(({ name }) => name ?? []))];
    const ports = [
      ...new Set(all.map(({ protocol, port }) => `{ protocol: ${protocol.toUpperCase()}, port: ${port} }`)),
    ];
    return [
      `    - to: [{ ipBlock: { cidr: ${JSON.stringify(cidrOf(address))} } }]${names.length === 0 ? '' : `  # ${names.join(' ')}`}`,
      `      ports: [${ports.join(', ')}]`,
    ];
  });
  return [
    `# ${REMARK}`,
    'apiVersion: networking.k8s.io/v1',
    'kind: NetworkPolicy',
    'metadata: { name: recorded-egress }',
    'spec:',
    '  podSelector: {}',
    '  policyTypes: [Egress]',
    rules.length === 0 ? '  egress: []' : '  egress:',
    ...rules,
    '',
  ].join('\n');
}

function cidrOf(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`;
}

function sorted(ports: ReadonlySet<number>): number[] {
  return [...ports].sort((a, b) => a - b);
}
