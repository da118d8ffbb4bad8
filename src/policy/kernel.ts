/**
 * What of the rules the kernel can do: it knows networks, ports and protocols, but neither names nor owners,
 * and no order. So only such rules count, where the order does not matter.
 */
import type { Destination } from '../core/destination.ts';
import { RULE_ROUTES_MAX } from '../core/limits.ts';
import { contains, networkOf } from './address-words.ts';
import type { Network } from './address-words.ts';
import type { Rule } from './rule.ts';

export interface KernelRules {
  /** Networks that are direct whatever the port: better routed past the TUN than carried through it. */
  readonly direct: readonly string[];
  /** What rules send another way than directly, so that it must come to the TUN also where it is local. */
  readonly captured: readonly Destination[];
}

/** Sorts out what the kernel can do of `rules`. Pure. */
export function kernelRules(rules: readonly Rule[]): KernelRules {
  const direct: string[] = [];
  const captured: Destination[] = [];
  /** Networks that rules so far send another way; any network may be among them once a rule asks for none. */
  const otherwise: Network[] = [];
  let anywhere = false;
  /** Networks that are direct for good. */
  const settled: Network[] = [];
  for (const rule of rules) {
    const networks = rule.to.map((cidr) => ({ cidr, network: networkOf(cidr) }));
    if (rule.via.kind === 'direct') {
      if (!isSimple(rule) || rule.ports.length > 0 || rule.protocol !== undefined) continue;
      for (const { cidr, network } of networks) {
        if (anywhere || otherwise.some((other) => overlap(other, network))) continue;
        settled.push(network);
        // The whole address space, or half of it, is no network that is local.
        if (network.prefix > 1 && direct.length < RULE_ROUTES_MAX) direct.push(cidr);
      }
      continue;
    }
    if (networks.length === 0) anywhere = true;
    for (const { cidr, network } of networks) {
      otherwise.push(network);
      // A ping to a local network stays there.
      if (rule.protocol === 'icmp' || !isSimple(rule)) continue;
      if (!settled.some((outer) => contains(outer, network))) captured.push(...destinations(cidr, rule));
    }
  }
  return { direct: [...new Set(direct)], captured };
}

function isSimple(rule: Rule): boolean {
  return [rule.names, rule.uid, rule.gid, rule.process, rule.container, rule.cgroup].every(
    (items) => items.length === 0,
  );
}

function destinations(cidr: string, { ports, protocol }: Rule): Destination[] {
  const common = protocol === 'tcp' || protocol === 'udp' ? { cidr, protocol } : { cidr };
  return ports.length === 0
    ? [common]
    : ports.map(({ first, last }): Destination => ({ ...common, ports: [first, last] }));
}

function overlap(a: Network, b: Network): boolean {
  return contains(a, b) || contains(b, a);
}
