import type { Family } from '../core/flow.ts';
import { MAIN_TABLE } from './ids.ts';

/**
 * A route as `ip -N -d -o route show` prints it, which `ip route add` accepts again. Text and not JSON:
 * the JSON renames and nests attributes, and one that this code does not know would be lost between
 * the takeover and the release. Numbers and not names (-N): within one batch, iproute2 up to at least 6.1
 * takes a protocol's or table's name for the number that came before it (its look-ups cache the name
 * and the result apart).
 */
export interface Route {
  readonly family: Family;
  readonly table: string;
  readonly type: string;
  readonly dst: string;
  /** `proto`; empty when none is told. */
  readonly protocol: string;
  readonly metric: string;
  readonly tos: string;
  readonly dev: string | undefined;
  /** Everything but the table, ready for `ip route add`; equal text means an equal route. */
  readonly spec: string;
}

/** State that the kernel tells of a route and nobody can set. */
const STATE_WORDS = new Set([
  'linkdown',
  'dead',
  'pervasive',
  'offload',
  'trap',
  'offload_failed',
  'rt_offload',
  'rt_trap',
  'unresolved',
  'notify',
]);
/** The same, followed by a value. A lifetime is left out since it changes by the second. */
const STATE_PAIRS = new Set(['expires', 'error', 'users', 'age', 'used']);

/** Route types, RTN_* of rtnetlink(7): `ip` prints their numbers and takes only their names. */
const TYPES: Readonly<Record<string, string>> = {
  1: 'unicast',
  2: 'local',
  3: 'broadcast',
  4: 'anycast',
  5: 'multicast',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
  9: 'throw',
};

/** Parses the output of `ip -N -d -o route show table all`. */
export function parseRoutes(text: string, family: Family): Route[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => parseRoute(line, family));
}

function parseRoute(line: string, family: Family): Route {
  const words = line.replaceAll('\\', ' ').split(/\s+/).filter(Boolean);
  const [number = '', dst = ''] = words;
  const type = TYPES[number] ?? number;
  const spec = type === 'unicast' ? [dst] : [type, dst];
  const found = new Map<string, string>();
  for (let at = 2; at < words.length; at++) {
    const word = words[at] ?? '';
    if (STATE_WORDS.has(word)) continue;
    if (STATE_PAIRS.has(word)) {
      at++;
      continue;
    }
    if (['proto', 'metric', 'dev', 'table', 'tos', 'dsfield'].includes(word)) {
      const value = words[++at] ?? '';
      if (!found.has(word)) found.set(word, value);
      if (word !== 'table') spec.push(word, value);
    } else spec.push(word);
  }
  return {
    family,
    table: found.get('table') ?? MAIN_TABLE,
    type,
    dst,
    protocol: found.get('proto') ?? '',
    metric: found.get('metric') ?? '0',
    tos: found.get('tos') ?? found.get('dsfield') ?? '0',
    dev: found.get('dev'),
    spec: withoutResolvedNexthop(spec).join(' '),
  };
}

/** Of a route by nexthop object (`nhid`), `ip` also prints what the object says, and refuses both. */
function withoutResolvedNexthop(spec: readonly string[]): readonly string[] {
  const nhid = spec.indexOf('nhid');
  if (nhid === -1) return spec;
  const kept: string[] = [];
  for (let at = 0; at < spec.length; at++) {
    const word = spec[at] ?? '';
    if (word === 'nexthop') break;
    if (word === 'via') at += spec[at + 1]?.startsWith('inet') === true ? 2 : 1;
    else if (word === 'dev') at++;
    else kept.push(word);
  }
  return kept;
}

/** What the kernel tells routes of one table apart by; several may share it, in order (`append`). */
export function keyOf(route: Route): string {
  return `${route.dst} ${route.tos} ${route.metric}`;
}
