import type { Family } from '../core/flow.ts';
import { isAdvertised, isUplink, storedUplinks } from './desired.ts';
import type { Facts } from './facts.ts';
import {
  DEVICE_TABLE,
  MAIN_TABLE,
  PROTOCOL,
  QUESTION_TABLES,
  TABLE,
  TUN_METRIC,
  TUN_TABLE,
  UPLINK_TABLE,
} from './ids.ts';
import { keyOf } from './route.ts';
import type { Route } from './route.ts';
import { deleteRule, ownRules } from './rule.ts';
import type { Step } from './step.ts';

/**
 * Computes the steps that put a namespace back as it was before the takeover: first the uplinks'
 * defaults, then everything that carries our numbers goes. It needs nothing but the namespace's own
 * state, so it works after a kill, and does nothing where netproxy never was.
 */
export function planRelease(facts: Facts): Step[] {
  const routes = ([4, 6] as const).flatMap((family) =>
    releaseFamily(family, facts).map((line): Step => ({ tool: 'ip', family, line })),
  );
  const tables = [
    ...([4, 6] as const).flatMap((family) =>
      facts.questions[family] === undefined ? [] : [QUESTION_TABLES[family]],
    ),
    ...(facts.filter.state === 'present' ? [TABLE] : []),
  ];
  const deleted = tables.map((table): Step => ({
    tool: 'nft',
    family: 0,
    table,
    line: `delete table ${table}`,
  }));
  return [...routes, ...deleted];
}

const OWN_TABLES: ReadonlySet<string> = new Set([UPLINK_TABLE, TUN_TABLE, DEVICE_TABLE]);

/** The same of one family. */
export function releaseFamily(family: Family, facts: Facts): string[] {
  const main = facts.routes.filter((route) => route.family === family && route.table === MAIN_TABLE);
  const present = main.filter((route) => isUplink(route, undefined));
  const ours = main.filter((route) => route.protocol === PROTOCOL);
  const stored = storedUplinks(facts, family);
  // Advertised defaults were never taken from main.
  const missing = stored.filter(
    (route) => !isAdvertised(route) && !present.some((other) => other.spec === route.spec),
  );
  const atTunMetric = ours.find(
    (route) => route.dst === 'default' && route.metric === TUN_METRIC[family] && route.type === 'unicast',
  );
  const filled = new Set(present.map(keyOf));
  const restored: string[] = [];
  let swapped: Route | undefined;
  for (const route of missing) {
    const key = keyOf(route);
    const taken = filled.has(key);
    filled.add(key);
    if (!taken && atTunMetric !== undefined && key === keyOf(atTunMetric)) {
      swapped = atTunMetric;
      restored.push(`route replace ${route.spec}`);
    } else restored.push(`route ${taken ? 'append' : 'add'} ${route.spec}`);
  }
  return [
    ...restored,
    // The TUN's default before the guard: the other way round the guard would for a moment be missing
    // while the application still depends on it.
    ...ours.filter((route) => route !== swapped).map((route) => `route del ${route.spec}`),
    ...ownRules(family, facts).map(deleteRule),
    ...facts.routes
      .filter((route) => route.family === family && OWN_TABLES.has(route.table))
      .map((route) => `route del table ${route.table} ${route.spec}`),
  ];
}
