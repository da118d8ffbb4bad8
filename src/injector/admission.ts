/** One question of the API server: decided, answered, counted, and told in one line of the log. */
import type { Log } from '../core/log.ts';
import type { ClusterNetworks } from './cluster.ts';
import type { InjectorMetrics } from './metrics.ts';
import { decide } from './patch.ts';
import type { Decision } from './patch.ts';
import type { Profiles } from './profiles.ts';
import { isNewPod, reviewAnswer } from './review.ts';
import type { Review } from './review.ts';

export interface Admitting {
  readonly profiles: Pick<Profiles, 'get' | 'names' | 'broken'>;
  readonly networks: Pick<ClusterNetworks, 'networks' | 'problem'>;
  readonly metrics: Pick<InjectorMetrics, 'admitted'>;
  readonly log: Log;
}

type Outcome = Decision | { readonly kind: 'unavailable'; readonly message: string };

/** Gives the AdmissionReview to send back; `started` is when the request came, by performance.now(). */
export function admit(
  review: Review,
  started: number,
  { profiles, networks, metrics, log }: Admitting,
): object {
  const outcome = judge(review, profiles, networks);
  const answer = reviewAnswer(review.uid, outcome);
  const ms = performance.now() - started;
  const result = resultOf(outcome);
  const profile = 'profile' in outcome ? (outcome.profile ?? '') : '';
  metrics.admitted(result, profile, ms);
  const { namespace, name, dryRun, kind, operation } = review;
  log.info(
    {
      ...{ namespace, pod: name, profile, result, ms: Math.round(ms * 10) / 10 },
      ...(dryRun ? { dryRun } : {}),
      ...('message' in outcome ? { why: outcome.message } : {}),
      ...('why' in outcome ? { why: outcome.why } : {}),
      ...(isNewPod(review) ? {} : { asked: `${operation} ${kind}` }),
    },
    'admission',
  );
  return answer;
}

function judge(review: Review, profiles: Admitting['profiles'], networks: Admitting['networks']): Outcome {
  if (!isNewPod(review) || review.object === undefined)
    return { kind: 'skip', why: 'not a new pod', warnings: [] };
  const decision = decide(review.object, {
    ...{ names: profiles.names, broken: profiles.broken, networks: networks.networks ?? [] },
    profile: (name) => profiles.get(name),
  });
  // A pod that is refused or left alone has no use for them.
  if (decision.kind === 'inject' && networks.networks === undefined)
    return {
      kind: 'unavailable',
      message: `netproxy: the networks of the cluster are not known yet: ${networks.problem}`,
    };
  return decision;
}

const RESULTS = {
  skip: 'skipped',
  refuse: 'refused',
  unavailable: 'unavailable',
} as const;

function resultOf(outcome: Outcome): string {
  if (outcome.kind !== 'inject') return RESULTS[outcome.kind];
  return outcome.patch.length === 0 ? 'unchanged' : 'injected';
}
