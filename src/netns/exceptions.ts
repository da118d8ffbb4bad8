/**
 * Destinations that go another way than their network: into the tunnel although they are local, or directly
 * although they are not, by address and port. Rules ahead of main do it, since routes know no ports.
 */
import { BlockList } from 'node:net';
import { parseCidr } from '../core/cidr.ts';
import type { Cidr } from '../core/cidr.ts';
import { parseDestination } from '../core/destination.ts';
import type { Destination } from '../core/destination.ts';
import type { Family } from '../core/flow.ts';
import { RULE_CAPTURED_MAX } from '../core/limits.ts';
import { MAIN_TABLE, RULE_EXCEPTIONS, TUN_TABLE, UPLINK_TABLE } from './ids.ts';

export interface Exception extends Destination {
  readonly way: 'tunnel' | 'direct';
  readonly network: Cidr;
}

/** A rule of the kernel: selector and action, as `ip rule` both takes and prints them. */
export interface ExceptionRule {
  readonly priority: number;
  readonly spec: string;
}

const ALL_PORTS = 65_536;

/** The most specific comes first: the longer prefix, then fewer ports, then one protocol, then the tunnel. */
export function exceptionsOf(local: readonly string[], captured: readonly Destination[]): Exception[] {
  const into = captured.flatMap((destination) => withNetwork(destination, 'tunnel'));
  const beside = local.flatMap((text) => {
    const destination = parseDestination(text);
    if (destination === undefined) return [];
    // A whole network is a route, unless something wider than it is captured.
    const whole = destination.ports === undefined;
    if (whole && !into.some(({ network }) => contains(network, destination.parsed))) return [];
    return withNetwork(destination, 'direct');
  });
  const width = ({ ports }: Exception): number => (ports === undefined ? ALL_PORTS : ports[1] - ports[0] + 1);
  return [...into, ...beside].toSorted(
    (a, b) =>
      b.network.prefix - a.network.prefix ||
      width(a) - width(b) ||
      Number(a.protocol === undefined) - Number(b.protocol === undefined) ||
      Number(a.way === 'direct') - Number(b.way === 'direct'),
  );
}

/** Those of `ruled` that lie within one of the `networks`. A wider one does not speak of them. */
export function ruledWithin(
  networks: readonly string[],
  ruled: readonly Destination[],
  warnings: string[],
): readonly Destination[] {
  const lists = networks.map((text) => {
    const [address = '', prefix] = text.split('/');
    const list = new BlockList();
    list.addSubnet(address, Number(prefix), address.includes(':') ? 'ipv6' : 'ipv4');
    return { list, prefix: Number(prefix) };
  });
  const within = ruled.filter(({ cidr }) => {
    const [address = '', prefix] = cidr.split('/');
    const family = address.includes(':') ? 'ipv6' : 'ipv4';
    return lists.some((each) => each.prefix <= Number(prefix) && each.list.check(address, family));
  });
  if (within.length > RULE_CAPTURED_MAX) {
    warnings.push(
      `${within.length} destinations within local networks are decided on by rules; only the first ${RULE_CAPTURED_MAX} are captured, the others stay direct`,
    );
  }
  return within.slice(0, RULE_CAPTURED_MAX);
}

/** The rules of a family, in order. A vanished TUN ends the lookup: main would lead past it. */
export function exceptionRules(exceptions: readonly Exception[], family: Family): ExceptionRule[] {
  return exceptions
    .filter(({ network }) => network.family === family)
    .flatMap((exception) => selectors(exception).map((selector) => ({ selector, way: exception.way })))
    .flatMap(({ selector, way }, index) => {
      const priority = RULE_EXCEPTIONS + 2 * index;
      const [first, second] =
        way === 'tunnel'
          ? [`lookup ${TUN_TABLE}`, 'unreachable']
          : [`lookup ${MAIN_TABLE} suppress_prefixlength 0`, `lookup ${UPLINK_TABLE}`];
      return [
        { priority, spec: `${selector} ${first}` },
        { priority: priority + 1, spec: `${selector} ${second}` },
      ];
    });
}

/** The same as an expression of nft. */
export function exceptionMatch({ network, ports, protocol }: Exception): string {
  const address = `${network.family === 4 ? 'ip' : 'ip6'} daddr ${network.network}`;
  if (ports === undefined) return protocol === undefined ? address : `${address} meta l4proto ${protocol}`;
  const range = ports[0] === ports[1] ? String(ports[0]) : ports.join('-');
  return protocol === undefined
    ? `${address} meta l4proto { tcp, udp } th dport ${range}`
    : `${address} ${protocol} dport ${range}`;
}

/** A port means nothing without its protocol: the kernel keeps the type of an ICMP message in the same place. */
function selectors({ network, ports, protocol }: Exception): string[] {
  const to = `to ${network.network.replace(/\/(32|128)$/, '')}`;
  const protocols = protocol === undefined ? (['tcp', 'udp'] as const) : ([protocol] as const);
  if (ports === undefined) return protocol === undefined ? [to] : [`${to} ipproto ${protocol}`];
  const range = ports[0] === ports[1] ? String(ports[0]) : ports.join('-');
  return protocols.map((each) => `${to} ipproto ${each} dport ${range}`);
}

function withNetwork(destination: Destination, way: Exception['way']): Exception[] {
  const network = parseCidr(destination.cidr);
  return network === undefined ? [] : [{ ...destination, way, network }];
}

function contains(outer: Cidr, inner: Cidr): boolean {
  if (outer.family !== inner.family || outer.prefix > inner.prefix) return false;
  return parseCidr(`${inner.address}/${outer.prefix}`)?.network === outer.network;
}
