/** One line of the log for each flow, when it is over. */
import { formatEndpoint } from '../core/address.ts';
import type { EndedFlow, FlowResult } from '../core/flow-table.ts';
import type { LeveledLog } from '../core/logger.ts';
import type { RecentLines } from '../core/recent-lines.ts';
import { ruleFields } from '../policy/policy.ts';

/** Which flows are logged at the level `info`; the others are at `debug`. */
export type FlowLogging = 'all' | 'failed' | 'none';

const REJECTED: ReadonlySet<FlowResult> = new Set([
  'refused',
  'network-unreachable',
  'host-unreachable',
  'prohibited',
]);

const ROUNDING = 100;

/** What became of a flow, in one word. */
function eventOf(result: FlowResult): 'rejected' | 'dropped' | 'cancelled' | 'closed' {
  if (REJECTED.has(result)) return 'rejected';
  return result === 'dropped' || result === 'cancelled' ? result : 'closed';
}

/** The fields of a flow's line. */
export function flowFields({ id, flow, name, owner, durationMs, result }: EndedFlow): object {
  const { tuple, decision, bastion, openMs } = flow;
  return {
    flow: id,
    protocol: tuple.protocol,
    from: formatEndpoint(tuple.source),
    to: formatEndpoint(tuple.destination),
    ...{ name, uid: owner?.uid, pid: owner?.pid, process: owner?.process?.[0] },
    verdict: decision.upstream ?? decision.kind,
    bastion,
    ...ruleFields(decision),
    openMs: openMs === undefined ? undefined : Math.round(openMs * ROUNDING) / ROUNDING,
    durationMs: Math.round(durationMs),
    bytesOut: flow.bytesOut,
    bytesIn: flow.bytesIn,
    result,
  };
}

/** Writes the lines; those that are not severe enough for the log are kept for "netproxy logs" all the same. */
export class FlowLog {
  readonly #log: LeveledLog;
  readonly #recent: RecentLines;
  readonly #now: () => number;
  logging: FlowLogging;

  /** `now`: milliseconds since 1970. */
  constructor(log: LeveledLog, recent: RecentLines, logging: FlowLogging, now: () => number = Date.now) {
    this.#log = log;
    this.#recent = recent;
    this.logging = logging;
    this.#now = now;
  }

  write(ended: EndedFlow): void {
    const fields = flowFields(ended);
    const event = eventOf(ended.result);
    const message = `flow ${event}: ${ended.message}`;
    if (this.#isPlain(ended, event)) {
      this.#log.info(fields, message);
      return;
    }
    this.#log.debug(fields, message);
    if (this.#log.isLevelEnabled('debug')) return;
    const time = this.#now();
    this.#recent.add(() =>
      JSON.stringify({ level: 'debug', time: new Date(time).toISOString(), ...fields, msg: message }),
    );
  }

  #isPlain({ flow }: EndedFlow, event: ReturnType<typeof eventOf>): boolean {
    if (this.logging !== 'failed') return this.logging === 'all';
    // Every browser tries QUIC first, and is refused as it expects.
    const failed = event === 'dropped' || (event === 'rejected' && flow.tuple.protocol === 'tcp');
    return failed;
  }
}
