import { askJson } from '../control/client.ts';
import type { ToldCondition } from '../control/health.ts';
import type { Paint } from './style.ts';

/** What `/v1/status` tells. */
export interface Status {
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly ready: boolean;
  readonly conditions: readonly ToldCondition[];
  readonly bastions: readonly {
    readonly name: string;
    readonly state: string;
    readonly reason: string;
    readonly connections: number;
    readonly channels: number;
    readonly roundTripMs?: number;
  }[];
  readonly flows: number;
  /** Undefined where there is no filter that counts. */
  readonly leakedPackets?: number;
}

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
  return [
    `${paint('bold', 'netproxy')} ${told.version}, ${told.ready ? 'ready' : paint('red', 'not ready')}, up ${told.uptimeSeconds} s, ${told.flows} flows, leaked packets ${leaked}`,
    ...told.conditions.map(
      ({ name, ok, reason, forSeconds }) => `  ${mark(ok)}  ${name.padEnd(10)} ${reason} (${forSeconds} s)`,
    ),
    paint('bold', 'bastions'),
    ...told.bastions.map(({ name, state, reason, connections, channels, roundTripMs }) => {
      const trip = roundTripMs === undefined ? '' : `, round trip ${roundTripMs.toFixed(1)} ms`;
      return `  ${mark(state === 'ready')}  ${name.padEnd(10)} ${reason}; connections ${connections}, channels ${channels}${trip}`;
    }),
  ].join('\n');
}
