/**
 * Proves, by the kernel's own look-up, that netproxy's sockets leave by the uplink and that nobody else's do.
 * Sends nothing.
 */
import { familyOf } from '../core/address.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Family } from '../core/flow.ts';
import { FWMARK } from '../core/limits.ts';
import { WIDE } from './local.ts';
import type { NetRunner } from './runner.ts';

/** Addresses that are nobody's (RFC 5737, RFC 3849, RFC 2544), of which one has no route of its own. */
const FAR: Readonly<Record<Family, readonly string[]>> = {
  4: ['203.0.113.1', '198.51.100.1', '192.0.2.1'],
  6: ['2001:db8::1', '2001:db8:ffff::1'],
};

export interface SelfTest {
  /** Addresses that a marked socket reaches, each with the device it leaves by. */
  readonly reached: ReadonlyMap<string, string>;
  /** Sentences for the operator. */
  readonly warnings: readonly string[];
}

interface Way {
  readonly dst: string;
  readonly dev: string;
}

/**
 * `addresses`: those of the bastions. Throws OWN_TRAFFIC_CAPTURED when a marked packet to one of them would go
 * into the TUN, and TRAFFIC_NOT_CAPTURED when an unmarked one would leave by a default that is not the TUN's.
 * An address that there is no way to at all is a warning: the uplink may come later.
 */
export async function proveRoutes(
  addresses: readonly string[],
  tun: string,
  runner: NetRunner,
): Promise<SelfTest> {
  const marked = await Promise.all(
    addresses.map(async (address) => [address, await wayTo(address, FWMARK, runner)] as const),
  );
  const reached = new Map<string, string>();
  const warnings: string[] = [];
  for (const [address, way] of marked) {
    if (typeof way === 'string') {
      warnings.push(`there is no way to the bastion's address ${address} beside the tunnel: ${way}`);
      continue;
    }
    if (way.dev === tun) {
      throw new NetproxyError(
        'OWN_TRAFFIC_CAPTURED',
        `packets of netproxy's own to the bastion's address ${address} would go into ${tun} (route "${way.dst}", mark 0x${FWMARK.toString(16)})`,
      );
    }
    reached.set(address, way.dev);
  }
  await Promise.all([
    ...addresses.map((address) => proveCaptured(address, tun, runner)),
    ...([4, 6] as const).map((family) => proveFarCaptured(family, tun, runner)),
  ]);
  return { reached, warnings };
}

/** False when the address has a route of its own, by which it is local and direct. */
async function proveCaptured(address: string, tun: string, runner: NetRunner): Promise<boolean> {
  const way = await wayTo(address, 0, runner);
  if (typeof way === 'string' || way.dev === tun) return true;
  if (!WIDE.has(way.dst)) return false;
  throw new NetproxyError(
    'TRAFFIC_NOT_CAPTURED',
    `packets of an application to ${address} would leave by ${way.dev} (route "${way.dst}") and not by ${tun}`,
  );
}

async function proveFarCaptured(family: Family, tun: string, runner: NetRunner): Promise<void> {
  for (const address of FAR[family]) if (await proveCaptured(address, tun, runner)) return;
}

/** The route that the kernel takes; its own words when it takes none. */
async function wayTo(address: string, mark: number, runner: NetRunner): Promise<Way | string> {
  const with_ = mark === 0 ? [] : ['mark', `0x${mark.toString(16)}`];
  try {
    const text = await runner.ip([
      `-${familyOf(address) ?? 4}`,
      ...['-j', 'route', 'get', 'fibmatch', address, ...with_],
    ]);
    const [route] = JSON.parse(text) as { type?: string; dst?: string; dev?: string }[];
    if (route?.dev === undefined) return `the route is ${route?.type ?? 'unknown'}`;
    return { dst: route.dst ?? '', dev: route.dev };
  } catch (error) {
    if (!(error instanceof NetproxyError) || error.code !== 'IP_COMMAND_FAILED') throw error;
    return error.message.replace(/^running "[^"]*": /, '');
  }
}
