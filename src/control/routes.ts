/** What the control interface answers to. `docs/operations.md` lists the same. */
import type { FlowTable } from '../core/flow-table.ts';
import { FLOWS_LISTED } from '../core/limits.ts';
import type { RecentLines } from '../core/recent-lines.ts';
import { listConnections, SORT_KEYS } from './connections.ts';
import type { Health } from './health.ts';

/** What the interface shows and steers, declared here so that it can reach for no more. */
export interface Shown {
  readonly health: Health;
  readonly flows: FlowTable;
  readonly recent: RecentLines;
  status(): Promise<object>;
  /** The effective configuration, without secrets. */
  config(): object;
  /** Milliseconds of the clock of `flows`. */
  readonly now: () => number;
  /** In the text format of Prometheus. */
  metrics(): Promise<string>;
}

export interface Answer {
  readonly status: number;
  /** JSON, or text as it is. */
  readonly body: object | string;
  readonly contentType?: string;
  /** Goes on: `write` takes further text, false when the reader lags; the answer ends whatever writes. */
  readonly follow?: (write: (text: string) => boolean) => () => void;
}

/** A request, as far as routes look at it. */
export interface Asked {
  readonly query: URLSearchParams;
  /** The part of the path that stands for `ID`, decoded. */
  readonly id: string;
}

export interface Route {
  readonly method: 'GET' | 'DELETE';
  /** `/v1/x/ID` has one part that is free. */
  readonly path: string;
  /** Served by TCP without a token. */
  readonly open?: true;
  answer(asked: Asked): Answer | Promise<Answer>;
}

const OK = 200;
const BAD_REQUEST = 400;
const NOT_FOUND = 404;
const UNAVAILABLE = 503;

/** The version of the text format that Prometheus is told of. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const LINES_TYPE = 'application/x-ndjson';

/** The routes of a running netproxy. */
export function routesOf(shown: Shown): readonly Route[] {
  const { health, flows, recent } = shown;
  const readiness = (): Answer => ({
    status: health.ready ? OK : UNAVAILABLE,
    body: { ready: health.ready, conditions: health.conditions() },
  });
  const ok = (body: object): Answer => ({ status: OK, body });
  return [
    { method: 'GET', path: '/livez', open: true, answer: () => ok({ live: true }) },
    { method: 'GET', path: '/readyz', open: true, answer: readiness },
    { method: 'GET', path: '/healthz', open: true, answer: readiness },
    {
      ...{ method: 'GET', path: '/metrics', open: true },
      answer: async () => ({ status: OK, body: await shown.metrics(), contentType: METRICS_TYPE }),
    },
    { method: 'GET', path: '/v1/status', answer: async () => ok(await shown.status()) },
    { method: 'GET', path: '/v1/config', answer: () => ok(shown.config()) },
    { method: 'GET', path: '/v1/connections', answer: ({ query }) => connections(shown, query) },
    {
      method: 'DELETE',
      path: '/v1/connections/ID',
      answer: ({ id }) => {
        const entry = flows.get(Number(id));
        if (entry === undefined)
          return { status: NOT_FOUND, body: { error: `no connection has the id ${id}` } };
        entry.flow.kill();
        return ok({ killed: entry.id });
      },
    },
    { method: 'GET', path: '/v1/logs', answer: ({ query }) => logs(recent, query.has('follow')) },
  ];
}

function connections({ flows, now }: Shown, query: URLSearchParams): Answer {
  const sort = query.get('sort') ?? 'age';
  const limit = Number(query.get('limit') ?? FLOWS_LISTED);
  const wrong = !Object.hasOwn(SORT_KEYS, sort)
    ? `sort: allowed: ${Object.keys(SORT_KEYS).join(', ')}`
    : Number.isInteger(limit) && limit >= 0
      ? undefined
      : 'limit: a number is wanted';
  if (wrong !== undefined) return { status: BAD_REQUEST, body: { error: wrong } };
  return { status: OK, body: listConnections(flows.entries(), now(), { sort, limit }) };
}

function logs(recent: RecentLines, follow: boolean): Answer {
  const body = recent.lines.map((line) => `${line}\n`).join('');
  const answer = { status: OK, body, contentType: LINES_TYPE };
  if (!follow) return answer;
  return {
    ...answer,
    follow: (write) => {
      let left = 0;
      return recent.follow((line) => {
        const missed =
          left > 0 ? `${JSON.stringify({ level: 'warn', msg: `${left} lines were left out` })}\n` : '';
        if (write(`${missed}${line}\n`)) left = 0;
        else left++;
      });
    },
  };
}
