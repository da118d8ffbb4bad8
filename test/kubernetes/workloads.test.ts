/** The sidecar in what makes pods: Job, CronJob and StatefulSet. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { LAB, waitFor } from '../lab/namespaces.ts';
import type { Capture } from '../lab/namespaces.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from '../netns/ports.ts';
import { DEADLINE_MS, openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { app, APP_PORT, asked, leftBy, Profile, reaches, startBastion, watchUplink } from './sidecar.ts';
import type { PodObject } from './sidecar.ts';

const BASTION_PORT = 2202;
const echo = String(PORTS.echo);
/** A schedule has minutes for its unit. */
const SCHEDULE_DEADLINE_MS = 150_000;

function template(name: string, spec: object): object {
  return { metadata: { labels: { app: name } }, spec };
}

describe('the sidecar in', { skip: outsideLab() }, () => {
  let cluster: Cluster;
  let place: TestNamespace;
  let sshd: Sshd;
  let profile: Profile;
  let uplink: Capture;
  /** Exits with 3 when it does not reach the target. */
  const job = (): object =>
    profile.podSpec({
      containers: [app('app', ['job', LAB.target.v4, echo])],
      spec: { restartPolicy: 'Never' },
    });
  before(async () => {
    cluster = await openCluster();
    sshd = await startBastion(cluster.site, BASTION_PORT);
    place = await cluster.namespace();
    uplink = await watchUplink(cluster.site, [sshd]);
    profile = await Profile.apply(place, sshd);
    await place.apply({
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'cron' },
      // Begun here, since its minute passes while the others run.
      spec: {
        schedule: '* * * * *',
        concurrencyPolicy: 'Forbid',
        jobTemplate: { spec: { backoffLimit: 0, template: template('cron', job()) } },
      },
    });
  });
  after(async () => {
    await uplink?.stop();
    await place?.remove();
    await sshd?.stop();
    await cluster?.close();
  });
  const list = async (selector: string): Promise<readonly PodObject[]> => {
    const { stdout } = await place.kubectl(['get', 'pods', `--selector=${selector}`, '--output=json']);
    return (JSON.parse(stdout) as { items: readonly PodObject[] }).items;
  };

  test('a Job ends with the job', async () => {
    await place.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'job' },
      spec: { backoffLimit: 0, template: template('job', job()) },
    });
    await place.until('Complete', 'job/job');
    const [pod] = await list('app=job');
    assert.equal(pod!.status.phase, 'Succeeded');
    const { state } = pod!.status.initContainerStatuses![0]!;
    // It was told to end, and ended in order.
    assert.equal(state.terminated?.exitCode, 0);
  });

  test('a StatefulSet keeps its names', async () => {
    await place.apply(
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'set' },
        spec: { clusterIP: 'None', selector: { app: 'set' }, ports: [{ port: APP_PORT }] },
      },
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name: 'set' },
        spec: {
          replicas: 2,
          serviceName: 'set',
          selector: { matchLabels: { app: 'set' } },
          template: template('set', profile.podSpec()),
        },
      },
    );
    const words = ['rollout', 'status', 'statefulset/set', `--timeout=${(2 * DEADLINE_MS) / 1000}s`];
    await place.kubectl(words, { timeoutMs: 3 * DEADLINE_MS });
    await reaches(place, 'set-1', PORTS.echo);
    // The cluster's DNS keeps for a while that there was no such name.
    const said = await waitFor(
      'the other pod by its name',
      async () => {
        const answer = await asked(place, 'set-1', 'fetch', `http://set-0.set:${APP_PORT}/`);
        return answer.status === 200 && answer;
      },
      DEADLINE_MS,
    );
    assert.match(said.text ?? '', /^app /);
  });

  test('a CronJob does the same every time', async () => {
    await waitFor(
      'a run of the CronJob',
      async () => (await list('app=cron')).some(({ status }) => status.phase === 'Succeeded'),
      SCHEDULE_DEADLINE_MS,
    );
    const runs = await list('app=cron');
    assert.ok(!runs.some(({ status }) => status.phase === 'Failed'), JSON.stringify(runs));
  });

  test('none of them lets anything else out', async () => {
    assert.deepEqual(await leftBy(place, uplink), []);
  });
});
