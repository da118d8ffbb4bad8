/**
 * Steps from what is to what should be. The order is what makes the takeover safe to be killed in:
 *
 * 0. the tables of nftables: questions to resolvers come to us, and then nothing leaves by an uplink but what may
 * 1. the device: addresses, MTU, up (no traffic leads to it yet)
 * 2. the end rule and the uplink table: nothing follows them yet
 * 3. the rules for marked sockets: our own connections no longer depend on main's default; those for devices
 * 4. routes of local networks, and the rules of destinations that go another way than their network
 * 5. the default by the TUN: from here on the application's traffic comes to us
 * 6. the guard behind it: from here on a vanished TUN means ENETUNREACH
 * 7. main's other defaults go, which the guard already hides
 *
 * No state in between sends an application's traffic anywhere but where it went before, to the TUN,
 * or nowhere. An IPv4 default of metric 0 is swapped for the TUN's in one message (step 5).
 */
import type { Family } from '../core/flow.ts';
import { isAdvertised, isUplink, storedUplinks } from './desired.ts';
import type { Desired, DesiredFamily } from './desired.ts';
import type { Facts } from './facts.ts';
import {
  DEVICE_TABLE,
  MAIN_TABLE,
  PROTOCOL,
  QUESTION_TABLES,
  RULE_DEVICE_FIRST,
  RULE_DEVICE_LAST,
  RULE_END,
  RULE_DNS,
  TABLE,
  TUN_GROUP,
  TUN_TABLE,
  UPLINK_TABLE,
} from './ids.ts';
import { keyOf } from './route.ts';
import { releaseFamily } from './release.ts';
import type { Route } from './route.ts';
import { addRule, deleteRule, ownRules, printed } from './rule.ts';
import type { Step } from './step.ts';

/** Computes the steps. None when the state is as desired. */
export function diff(want: Desired, facts: Facts): Step[] {
  const families = ([4, 6] as const).flatMap((family) => {
    const wanted = want.families[family];
    // A predecessor may have had other layers.
    const lines =
      wanted === undefined ? releaseFamily(family, facts) : diffFamily(wanted, family, want.tun.name, facts);
    return lines.map((line): Step => ({ tool: 'ip', family, line }));
  });
  return [
    ...([4, 6] as const).flatMap((family) =>
      inTable(QUESTION_TABLES[family], diffQuestions(want, family, facts)),
    ),
    ...inTable(TABLE, diffFilter(want, facts)),
    ...diffTun(want, facts).map((line): Step => ({ tool: 'ip', family: 0, line })),
    ...families,
  ];
}

function inTable(table: string, lines: readonly string[]): Step[] {
  return lines.map((line): Step => ({ tool: 'nft', family: 0, table, line }));
}

function diffQuestions({ questions }: Desired, family: Family, facts: Facts): readonly string[] {
  const wanted = questions[family];
  const found = facts.questions[family];
  if (wanted === undefined) return found === undefined ? [] : [`delete table ${QUESTION_TABLES[family]}`];
  return found?.join('\n') === wanted.signature.join('\n') ? [] : wanted.script;
}

function diffFilter({ filter }: Desired, { filter: facts }: Facts): string[] {
  if (facts.state === 'unusable') return [];
  if (filter === undefined) return facts.state === 'present' ? [`delete table ${TABLE}`] : [];
  const same = facts.state === 'present' && facts.signature.join('\n') === filter.signature.join('\n');
  return same ? [] : filter.script(facts.memory);
}

function diffTun(want: Desired, facts: Facts): string[] {
  const { name, mtu, txqueuelen, addresses } = want.tun;
  const link = facts.links.find((other) => other.name === name);
  const missing = addresses.filter((address) => link?.addresses.includes(address) !== true);
  const lines: string[] = [];
  if (link?.up !== true && facts.ipv6 === 'on') {
    // Without a link-local address the kernel sends no router solicitations into the tunnel.
    lines.push(`link set dev ${name} addrgenmode none`);
  }
  const right =
    link?.up === true && link.mtu === mtu && link.txqueuelen === txqueuelen && link.group === TUN_GROUP;
  if (!right) lines.push(`link set dev ${name} mtu ${mtu} txqueuelen ${txqueuelen} group ${TUN_GROUP}`);
  for (const address of missing)
    lines.push(`addr add ${address} dev ${name}${address.includes(':') ? ' nodad' : ''}`);
  if (link?.up !== true) lines.push(`link set dev ${name} up`);
  return lines;
}

function diffFamily(want: DesiredFamily, family: Family, tun: string, facts: Facts): string[] {
  const main = facts.routes.filter((route) => route.family === family && route.table === MAIN_TABLE);
  const ours = main.filter((route) => route.protocol === PROTOCOL);
  const rules = diffRules(want, family, facts);
  const tunRoute = ours.find(
    (route) => route.dst === 'default' && route.type === 'unicast' && route.dev === tun,
  );
  const tunPresent = tunRoute !== undefined && sourceIn(tunRoute) === want.source;
  const guardPresent = ours.some((route) => route.type === 'throw' && isSame(route, want.guard));
  const obsolete = main.filter((route) => isUplink(route, tun) && !isAdvertised(route));
  // The first IPv4 default of metric 0 is the one that `replace` swaps.
  const swapped =
    want.tunDefault !== undefined && tunRoute === undefined && family === 4
      ? obsolete.find((route) => keyOf(route) === 'default 0 0')
      : undefined;
  // Backwards, so that routes of equal metric that are left after a kill are the first ones.
  const removed = obsolete.filter((route) => route !== swapped).toReversed();
  const twins = removed.filter((route) => swapped !== undefined && keyOf(route) === keyOf(swapped));
  return [
    ...rules.end,
    ...diffUplinks(want, family, facts),
    ...rules.marked,
    ...diffTable(DEVICE_TABLE, want.devices, family, facts),
    ...rules.devices,
    ...diffLocal(want, ours, tun),
    ...diffTable(TUN_TABLE, want.captured, family, facts),
    ...rules.exceptions,
    ...twins.map((route) => `route del ${route.spec}`),
    ...(want.tunDefault === undefined || tunPresent ? [] : [`route replace ${want.tunDefault}`]),
    ...(guardPresent ? [] : [`route replace ${want.guard}`]),
    ...removed.filter((route) => !twins.includes(route)).map((route) => `route del ${route.spec}`),
  ];
}

function diffRules(
  want: DesiredFamily,
  family: Family,
  facts: Facts,
): Record<'end' | 'marked' | 'devices' | 'exceptions', string[]> {
  const ours = ownRules(family, facts);
  const missing = want.rules.filter((rule) => !ours.includes(printed(rule)));
  const stale = ours.filter((rule) => !want.rules.some((other) => printed(other) === rule)).map(deleteRule);
  const among = (first: number, last: number): string[] =>
    missing.filter(({ priority }) => priority >= first && priority <= last).map(addRule);
  return {
    end: among(RULE_END, RULE_END),
    marked: among(0, RULE_DNS - 1),
    devices: among(RULE_DEVICE_FIRST, RULE_DEVICE_LAST),
    // Backwards: the rule that leads into the TUN's table must not be there without the end behind it.
    exceptions: [...among(RULE_DNS, RULE_DEVICE_FIRST - 1).toReversed(), ...stale],
  };
}

/** Routes of a table that is ours alone. */
function diffTable(table: string, want: readonly string[], family: Family, facts: Facts): string[] {
  const stored = facts.routes.filter((route) => route.family === family && route.table === table);
  const missing = want.filter((spec) => !stored.some((route) => isSame(route, spec)));
  const replaced = new Set(missing.map((spec) => / metric (\S+)/.exec(spec)?.[1]));
  return [
    ...missing.map((spec) => `route replace table ${table} ${spec}`),
    ...stored
      .filter((route) => !replaced.has(route.metric) && !want.some((spec) => isSame(route, spec)))
      .map((route) => `route del table ${table} ${route.spec}`),
  ];
}

function diffUplinks(want: DesiredFamily, family: Family, facts: Facts): string[] {
  const stored = storedUplinks(facts, family);
  const lines: string[] = [];
  if (
    !facts.routes.some(
      (route) => route.family === family && route.table === UPLINK_TABLE && isSame(route, want.uplinkEnd),
    )
  ) {
    lines.push(`route replace table ${UPLINK_TABLE} ${want.uplinkEnd}`);
  }
  const keys = new Set([...want.uplinks, ...stored].map(keyOf));
  for (const key of keys) {
    lines.push(
      ...diffKey(
        want.uplinks.filter((route) => keyOf(route) === key),
        stored.filter((route) => keyOf(route) === key),
        family,
      ),
    );
  }
  return lines;
}

/** Routes that share a key stand in an order, which the commands keep. */
function diffKey(want: readonly Route[], stored: readonly Route[], family: Family): string[] {
  const command = (verb: string, route: Route): string => `route ${verb} table ${UPLINK_TABLE} ${route.spec}`;
  const startsLikeStored = stored.every((route, index) => want[index]?.spec === route.spec);
  if (startsLikeStored) {
    return want
      .slice(stored.length)
      .map((route, index) => command(index + stored.length === 0 ? 'add' : 'append', route));
  }
  const fresh = want.filter((route) => !stored.some((other) => other.spec === route.spec));
  const stale = stored.filter((route) => !want.some((other) => other.spec === route.spec));
  if (family === 6)
    return [
      ...stale.map((route) => command('del', route)),
      ...fresh.map((route, index) => command(index === 0 ? 'replace' : 'append', route)),
    ];
  return [
    ...fresh.toReversed().map((route) => command('prepend', route)),
    ...stale.map((route) => command('del', route)),
  ];
}

function diffLocal(want: DesiredFamily, ours: readonly Route[], tun: string): string[] {
  const wanted = (route: Route): boolean => want.local.some((spec) => isSame(route, spec));
  const stale = ours.filter((route) => {
    if (route.dst !== 'default') return !wanted(route);
    return route.type === 'unicast' ? route.dev !== tun : !isSame(route, want.guard);
  });
  return [
    ...want.local
      .filter((spec) => !ours.some((route) => isSame(route, spec)))
      .map((spec) => `route replace ${spec}`),
    ...stale.map((route) => `route del ${route.spec}`),
  ];
}

function sourceIn(route: Route): string | undefined {
  const words = route.spec.split(' ');
  return words.includes('src') ? words[words.indexOf('src') + 1] : undefined;
}

/** Whether a route is what `spec` asks for: `ip` prints more words than it was given, in its own order. */
function isSame(route: Route, spec: string): boolean {
  const has = new Set(route.spec.split(' '));
  return spec.split(' ').every((word) => has.has(word) || has.has(word.replace(/\/(32|128)$/, '')));
}
