/** Many pods that start at once on one node. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { LAB } from '../lab/namespaces.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from '../netns/ports.ts';
import { openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { app, Profile, startBastion } from './sidecar.ts';
import type { PodObject } from './sidecar.ts';

const BASTION_PORT = 2205;
const MANY = 30;
/** Thirty sidecars at once are all work for the processors: a slow machine takes its time. */
const DEADLINE_MS = 600_000;
/** More than the groups give a test. */
const LONG = { timeout: DEADLINE_MS + 100_000 };
/**
 * Every probe by exec takes some 60 ms of a processor, for runc starts itself twice. Thirty a second would be all that
 * two processors can do.
 */
const PROBES = {
  startupProbe: { periodSeconds: 4, timeoutSeconds: 10, failureThreshold: 150 },
  readinessProbe: { enabled: false },
};

describe(`${MANY} pods with the sidecar`, { skip: outsideLab() }, () => {
  let cluster: Cluster;
  let place: TestNamespace;
  let sshd: Sshd;
  before(async () => {
    cluster = await openCluster();
    sshd = await startBastion(cluster.site, BASTION_PORT);
    place = await cluster.namespace();
  });
  after(async () => {
    await place?.remove();
    await sshd?.stop();
    await cluster?.close();
  });

  test('that start at once reach the target, each by a tunnel of its own', LONG, async (t) => {
    const profile = await Profile.apply(place, sshd, { values: { sidecar: PROBES } });
    const spec = profile.podSpec({
      // Exits with 3 when it does not reach the target.
      containers: [app('app', ['job', LAB.target.v4, String(PORTS.echo)])],
      spec: { restartPolicy: 'Never' },
    });
    const started = performance.now();
    await place.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'many' },
      spec: {
        ...{ completions: MANY, parallelism: MANY, backoffLimit: 0 },
        template: { metadata: { labels: { app: 'many' } }, spec },
      },
    });
    await place.until('Complete', 'job/many', DEADLINE_MS);
    t.diagnostic(
      `all are done ${((performance.now() - started) / 1000).toFixed(1)} s after their Job was made`,
    );
    const { stdout } = await place.kubectl(['get', 'pods', '--selector=app=many', '--output=json']);
    const pods = (JSON.parse(stdout) as { items: readonly PodObject[] }).items;
    assert.equal(pods.length, MANY);
    for (const { status } of pods) assert.equal(status.initContainerStatuses![0]!.restartCount, 0);
    // Each pod's own address is in the server's log, since the node does not hide it.
    const clients = new Set(
      [...sshd.log().matchAll(/Accepted publickey for \S+ from (\S+)/g)].map(([, from]) => from),
    );
    assert.equal(clients.size, MANY);
  });
});
