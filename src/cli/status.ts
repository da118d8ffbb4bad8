import { askJson } from '../control/client.ts';
import type { ToldCondition } from '../control/health.ts';
import type { FarEndTold, TrafficTold, UpstreamTold } from '../control/operations.ts';
import { bytesText, plain } from './format.ts';
import type { Paint } from './style.ts';

/** What `/v1/status` tells. */
export interface Status {
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly ready: boolean;
  readonly conditions: readonly ToldCondition[];
  readonly bastions: readonly BastionTold[];
  /** By bastion or group; what was not asked for yet is absent. */
  readonly farEnds: Readonly<Record<string, FarEndTold>>;
  readonly flows: number;
  /** Undefined where there is no filter that counts. */
  readonly leakedPackets?: number;
}

/** One that was started before an upgrade may tell of no traffic. */
type BastionTold = Omit<UpstreamTold, 'traffic'> & Partial<Pick<UpstreamTold, 'traffic'>>;

/** `netproxy status`: what the netproxy of this network namespace is doing. Throws NOT_RUNNING. */
export async function status(
  options: { readonly socket: string | undefined; readonly json: boolean; readonly paint: Paint },
  print: (text: string) => void,
): Promise<void> {
  const told = await askJson<Status>({ path: '/v1/status' }, options.socket);
  print(options.json ? `${JSON.stringify(told)}\n` : `${describe(told, options.paint)}\n`);
}

function describe(told: Status, paint: Paint): string {
  const mark = (ok: boolean): string => (ok ? paint('green', 'yes') : paint('red', 'no '));
  const leaked = told.leakedPackets ?? '-';
  const ready = told.ready ? 'ready' : paint('red', 'not ready');
  return [
    `${paint('bold', 'netproxy')} ${told.version}, ${ready}, up ${told.uptimeSeconds} s, ${told.flows} flows, leaked packets ${leaked}`,
    ...told.conditions.map(
      ({ name, ok, reason, forSeconds }) =>
        `  ${mark(ok)}  ${name.padEnd(10)} ${plain(reason)} (${forSeconds} s)`,
    ),
    paint('bold', 'bastions'),
    ...told.bastions.flatMap((bastion) => [
      `  ${mark(bastion.state === 'ready')}  ${bastion.name.padEnd(10)} ${plain(bastion.reason)}`,
      `       ${' '.repeat(10)} ${bastionText(bastion)}`,
      ...(bastion.traffic ?? []).map((each) => `       ${' '.repeat(10)} ${trafficText(each)}`),
    ]),
    ...Object.entries(told.farEnds).map(([name, end]) => `far end of ${name}: ${farEndText(end)}`),
  ].join('\n');
}

function bastionText({ farEnd, ...bastion }: BastionTold): string {
  const { connections, channels, roundTripMs, connects, losses } = bastion;
  return [
    ...(farEnd.server === undefined ? [] : [plain(farEnd.server)]),
    ...(roundTripMs === undefined ? [] : [`round trip ${roundTripMs.toFixed(1)} ms`]),
    `connections ${connections}, channels ${channels}`,
    `connected ${connects} times, lost ${losses}`,
    `forwarding ${word(farEnd.forwarding)}, commands ${word(farEnd.commands)}`,
  ].join('; ');
}

function trafficText({ number, sent, received, queued, channels, opensWaiting }: TrafficTold): string {
  const bytes = `${bytesText(sent)} out, ${bytesText(received)} in, ${bytesText(queued)} waiting`;
  return `connection ${number}: ${bytes}; ${channels} channels, ${opensWaiting} opens waiting`;
}

function farEndText({ ipv4, ipv6, resolver }: FarEndTold): string {
  return `IPv4 ${word(ipv4)}, IPv6 ${word(ipv6)}, resolver ${resolver ?? 'not found yet'}`;
}

const word = (known: boolean | undefined): string =>
  known === undefined ? 'not tried yet' : known ? 'yes' : 'no';
