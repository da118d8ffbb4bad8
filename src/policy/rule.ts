/** A rule: what it asks of a flow, and what becomes of one that has all of it. */
import type { FlowTuple, RejectReason } from '../core/flow.ts';

/** First and last port, both within. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** What a rule does with a flow; `upstream` is the name of a bastion or group. */
export type Via =
  | { readonly kind: 'upstream'; readonly upstream: string }
  /** By netproxy's own marked socket, past every bastion. */
  | { readonly kind: 'direct' }
  | { readonly kind: 'reject'; readonly reason: RejectReason }
  /** Never answered, as if the packet had been lost. */
  | { readonly kind: 'drop' }
  /** UDP and pings only: by a program on a bastion. Undefined: that of the last resort. */
  | { readonly kind: 'relay'; readonly upstream: string | undefined };

/** Each list that is empty asks nothing; of one that is not, any item will do. */
export interface Rule {
  /** Networks in canonical text. */
  readonly to: readonly string[];
  readonly ports: readonly PortRange[];
  readonly protocol: FlowTuple['protocol'] | undefined;
  /** As `parseNamePattern` takes them. */
  readonly names: readonly string[];
  readonly uid: readonly number[];
  readonly gid: readonly number[];
  readonly process: readonly string[];
  /** Beginnings of numbers of containers. */
  readonly container: readonly string[];
  /** Paths of control groups, which stand for all below them too. */
  readonly cgroup: readonly string[];
  readonly via: Via;
  /** `fake`: the names are looked up by the bastion that is dialled, and applications get addresses that stand for
   * them. */
  readonly resolve?: 'real' | 'fake' | undefined;
  /** `file:line`, `NETPROXY_RULES:line` or `--rule:line`. */
  readonly where: string;
}

/** True when a process must be found to tell whether the rule matches. */
export function asksForProcess(rule: Rule): boolean {
  return [rule.gid, rule.process, rule.container, rule.cgroup].some((items) => items.length > 0);
}

/** Words of `via` that no bastion or group may have for a name. */
export const VIA_WORDS: readonly string[] = ['direct', 'reject', 'drop', 'relay'];

const REASONS: readonly RejectReason[] = ['refused', 'network-unreachable', 'host-unreachable', 'prohibited'];

/** Reads what `via` says; undefined when a word of ours is followed by what may not follow it. */
export function parseVia(text: string): Via | undefined {
  const [word = '', more, ...rest] = text.split(':');
  if (rest.length > 0 || more === '' || word === '') return undefined;
  if (word === 'reject') {
    const reason = REASONS.find((each) => each === (more ?? 'refused'));
    return reason && { kind: 'reject', reason };
  }
  if (word === 'relay') return { kind: 'relay', upstream: more };
  if (more !== undefined) return undefined;
  if (word === 'direct' || word === 'drop') return { kind: word };
  return { kind: 'upstream', upstream: word };
}

/** The reverse of `parseVia`. */
export function viaText(via: Via): string {
  if (via.kind === 'upstream') return via.upstream;
  if (via.kind === 'reject') return via.reason === 'refused' ? 'reject' : `reject:${via.reason}`;
  if (via.kind === 'relay') return via.upstream === undefined ? 'relay' : `relay:${via.upstream}`;
  return via.kind;
}

export function portsText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}

/** Items of one list that the text of a rule names. */
const ITEMS_SHOWN = 3;

/** The rule on one line of bounded length, such as `to 10.0.0.0/8, ports 443, via main`. */
export function ruleText(rule: Rule): string {
  const list = (name: string, items: readonly (string | number)[]): string[] => {
    if (items.length === 0) return [];
    const shown = items.slice(0, ITEMS_SHOWN).join(' ');
    return [`${name} ${shown}${items.length > ITEMS_SHOWN ? ` and ${items.length - ITEMS_SHOWN} more` : ''}`];
  };
  return [
    ...list('to', rule.to),
    ...list('ports', rule.ports.map(portsText)),
    ...list('protocol', rule.protocol === undefined ? [] : [rule.protocol]),
    ...list('names', rule.names),
    ...list('uid', rule.uid),
    ...list('gid', rule.gid),
    ...list('process', rule.process),
    ...list('container', rule.container),
    ...list('cgroup', rule.cgroup),
    `via ${viaText(rule.via)}`,
  ].join(', ');
}
