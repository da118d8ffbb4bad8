/** `netproxy connections`: the flows under way, once or again and again, and the end of one. */
import { setTimeout as sleep } from 'node:timers/promises';

import { askJson } from '../control/client.ts';
import { SORT_KEYS } from '../control/connections.ts';
import type { Connection, Connections } from '../control/connections.ts';
import { ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { FLOWS_LISTED, WATCH_INTERVAL_MS } from '../core/limits.ts';
import { suggest } from '../core/suggest.ts';
import type { Arguments } from './arguments.ts';
import { ageText, bytesText, plain, tableLines } from './format.ts';
import type { Column } from './format.ts';

export interface ConnectionsInput {
  readonly sort: string;
  readonly limit: number;
  readonly kill: string | undefined;
  readonly watch: boolean;
}

/** Reads the flags. Throws one ProblemsError. */
export function connectionsInput({ parameters, switches }: Arguments): ConnectionsInput {
  const problems: Problem[] = [];
  const sort = parameters.get('sort') ?? 'age';
  if (!Object.hasOwn(SORT_KEYS, sort)) {
    const near = suggest(sort, Object.keys(SORT_KEYS));
    const hint = near === undefined ? {} : { hint: `Did you mean ${near}?` };
    const message = `found ${JSON.stringify(sort)}; allowed: ${Object.keys(SORT_KEYS).join(', ')}`;
    problems.push({ code: 'USAGE_INVALID', where: '--sort', message, ...hint });
  }
  for (const flag of ['limit', 'kill']) {
    const text = parameters.get(flag);
    if (text === undefined || /^\d{1,15}$/.test(text)) continue;
    const message = `found ${JSON.stringify(text)}; allowed: a number`;
    problems.push({ code: 'USAGE_INVALID', where: `--${flag}`, message });
  }
  if (problems.length > 0) throw new ProblemsError(problems);
  const limit = Number(parameters.get('limit') ?? FLOWS_LISTED);
  return { sort, limit, kill: parameters.get('kill'), watch: switches.has('watch') };
}

export interface ConnectionsOptions extends ConnectionsInput {
  readonly socket: string | undefined;
  readonly json: boolean;
  /** Columns of the terminal; undefined where there is none. */
  readonly columns: number | undefined;
  /** Ends `watch`. */
  readonly stop: AbortSignal;
}

/** Goes to the beginning of an empty screen. */
const CLEAR = '\u001b[H\u001b[2J';

/** Prints the list, or ends a connection. Throws NOT_RUNNING, CONTROL_REFUSED. */
export async function connections(options: ConnectionsOptions, print: (text: string) => void): Promise<void> {
  const { socket, kill, json, watch, stop, columns } = options;
  if (kill !== undefined) {
    const killed = await askJson<object>({ method: 'DELETE', path: `/v1/connections/${kill}` }, socket);
    print(json ? `${JSON.stringify(killed)}\n` : `connection ${kill} was ended\n`);
    return;
  }
  for (;;) {
    const told = await listed(socket, options);
    if (json) print(`${JSON.stringify(told)}\n`);
    else print(`${watch && columns !== undefined ? CLEAR : ''}${connectionsText(told, columns)}`);
    if (!watch) return;
    await sleep(WATCH_INTERVAL_MS, undefined, { signal: stop }).catch(() => {});
    if (stop.aborted) return;
  }
}

/** Asks for the list. */
export function listed(
  socket: string | undefined,
  { sort, limit }: Pick<ConnectionsInput, 'sort' | 'limit'>,
): Promise<Connections> {
  return askJson<Connections>({ path: `/v1/connections?sort=${sort}&limit=${limit}` }, socket);
}

export const COLUMNS: readonly Column[] = [
  { title: 'ID', right: true },
  { title: 'STATE' },
  { title: 'OWNER', elastic: true },
  { title: 'TARGET', elastic: true },
  { title: 'VIA', elastic: true },
  { title: 'RULE', elastic: true },
  { title: 'AGE', right: true },
  { title: 'OUT', right: true },
  { title: 'IN', right: true },
];

/** The cells of a connection, in the order of `COLUMNS`. */
export function cellsOf(connection: Connection): string[] {
  const { id, state, protocol, to, name, uid, process, verdict, bastion, rule } = connection;
  const owner = [process, uid === undefined ? undefined : `uid ${uid}`].filter((part) => part !== undefined);
  const via = bastion === undefined || bastion === verdict ? verdict : `${verdict}: ${bastion}`;
  return [
    String(id),
    state,
    plain(owner.join(' ') || '-'),
    plain(targetText(protocol, name, to)),
    plain(via),
    plain(rule),
    ageText(connection.ageSeconds),
    bytesText(connection.bytesOut),
    bytesText(connection.bytesIn),
  ];
}

/** Pings have no port. */
function targetText(protocol: Connection['protocol'], name: string | undefined, to: string): string {
  const [, address = to, port = ''] = /^(.*):(\d+)$/.exec(to) ?? [];
  if (protocol === 'icmp') return `ping ${name ?? address}`;
  return `${protocol === 'udp' ? 'udp ' : ''}${name ?? address}:${port}`;
}

function connectionsText({ total, connections: list }: Connections, columns: number | undefined): string {
  const lines = tableLines(COLUMNS, list.map(cellsOf), columns);
  const more = total > list.length ? `${total - list.length} more are not listed; --limit has them\n` : '';
  return `${lines.join('\n')}\n${total} connection${total === 1 ? '' : 's'}\n${more}`;
}
