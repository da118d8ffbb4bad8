/** The composition of `exec` and `record`: one run in a namespace of its own, and the command in it. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

import type { Io } from './cli/commands.ts';
import type { Job } from './cli/job.ts';
import type { Config } from './config/config.ts';
import type { Health } from './control/health.ts';
import { formatEndpoint } from './core/address.ts';
import { NetproxyError } from './core/errors.ts';
import { throughHelper, withoutMarks } from './core/native-view.ts';
import type { Native } from './core/native.ts';
import { asNetworkPolicy, asPermitOpen, asRules, reportJson } from './job/formats.ts';
import { runJob } from './job/job.ts';
import { Publisher } from './job/publish.ts';
import { neighbourOf, resolvConfFor } from './job/resolv-conf.ts';
import { Seen, watchedPolicy } from './job/seen.ts';
import type { NameOf } from './job/seen.ts';
import { NetnsHelper } from './netns/helper.ts';
import type { Place } from './netns/place.ts';
import { rulesPolicy } from './policy/policy.ts';
import type { FactSources, Policy } from './policy/policy.ts';

/** What `exec` asks of a run beside its place. */
export interface Watching {
  /** Called with the health of the run before anything waits for it. */
  readonly health: (health: Health) => void;
  /** Called with what tells the resolvers of the far ends that are in use. */
  readonly resolvers: (asked: () => readonly string[]) => void;
  /** Stands in front of the policy. */
  readonly policy: (policy: Policy, nameOf: NameOf, facts: FactSources) => Policy;
}

export interface ExecOptions {
  readonly config: Config;
  readonly io: Io;
  readonly job: Job;
  readonly native: Native;
  readonly environment: NodeJS.ProcessEnv;
  /** Forwards until `stop`. */
  forward(config: Config, stop: AbortSignal, place: Place, watching: Watching): Promise<void>;
}

/** Runs the command; gives its exit code. */
export async function exec(options: ExecOptions): Promise<number> {
  const { io, job, native, environment } = options;
  const report = job.report === undefined ? undefined : openReport(job.report);
  const resolver = neighbourOf(options.config.tun.address4);
  const resolvConf = resolvConfFor(readText('/etc/resolv.conf'), resolver);
  const helper = await NetnsHelper.start(native, { kind: 'new', resolvConf });
  const data = throughHelper(native, helper.channel);
  const outside = withoutMarks(native);
  const publisher = new Publisher(data);
  const seen = new Seen();
  const config = configFor(options.config, helper.covered);
  const place: Place = {
    ...{ data, own: outside, near: outside, runner: helper.runner },
    ...{ shared: false, uplinks: false, resolver, number: helper.number, lost: helper.lost },
  };
  let resolvers = (): readonly string[] => [];
  let own: readonly string[] = [];
  let code: number;
  try {
    await publisher.open(job.publish);
    const health = Promise.withResolvers<Health>();
    let known: Health | undefined;
    code = await runJob({
      ...{ argv: job.argv, environment, runner: helper },
      commandEnded: () => {
        own = [formatEndpoint(config.readyTarget), ...resolvers()];
      },
      forward: (stop) => ({
        ended: options.forward(config, stop, place, {
          health: (one) => {
            known = one;
            health.resolve(one);
          },
          resolvers: (asked) => {
            resolvers = asked;
          },
          policy: (policy, nameOf, facts) => {
            const allowed = job.allow && rulesPolicy(job.allow, 'nowhere', facts);
            return watchedPolicy(policy, seen, nameOf, allowed);
          },
        }),
        ready: {
          whenReady: async () => (await health.promise).whenReady(),
          conditions: () => known?.conditions() ?? [],
        },
      }),
    });
  } finally {
    publisher.close();
    await helper.close();
  }
  tell(options, seen, own, report);
  const refused = seen.destinations.filter(({ allowed }) => !allowed);
  if (refused.length > 0) throw egressRefused(refused, job.allowFile ?? '');
  io.log.debug({ code, destinations: seen.destinations.length }, 'the command has ended');
  return code;
}

/** Nothing is local to a namespace without uplinks; what routes cannot do for its resolvers, the filter does. */
function configFor(config: Config, covered: boolean): Config {
  return {
    ...config,
    ...{ local: [], captured: [], metadata: 'reject', strict: false, onExit: 'closed', watch: false },
    layers: covered ? ['routes'] : ['routes', 'nftables'],
  };
}

function tell(
  { config, io, job }: ExecOptions,
  seen: Seen,
  own: readonly string[],
  report: number | undefined,
): void {
  const upstream = config.groups[0]?.name ?? config.bastions[0]?.name ?? 'main';
  const text = {
    json: () => reportJson(seen),
    rules: () => asRules(seen, upstream),
    permitopen: () => asPermitOpen(seen, own),
    networkpolicy: () => asNetworkPolicy(seen),
  }[job.format]();
  if (report !== undefined) {
    writeSync(report, text);
    closeSync(report);
  } else if (job.format !== 'json') io.print(text);
}

/** Before rights are given up, and before the command runs for an hour. */
function openReport(path: string): number {
  try {
    return openSync(path, 'w');
  } catch (cause) {
    throw new NetproxyError('REPORT_UNWRITABLE', (cause as Error).message, { cause });
  }
}

/** Destinations that a message names. */
const SHOWN = 5;

function egressRefused(refused: Seen['destinations'], file: string): NetproxyError {
  const shown = refused.slice(0, SHOWN).map((one) => {
    const name = one.name === undefined ? '' : ` (${one.name})`;
    return `${one.protocol} ${formatEndpoint(one)}${name}`;
  });
  const more = refused.length > SHOWN ? ` and ${refused.length - SHOWN} more` : '';
  return new NetproxyError(
    'EGRESS_REFUSED',
    `${file} does not allow ${shown.join(', ')}${more}: refused, ${refused.length} in all`,
  );
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
