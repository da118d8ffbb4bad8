/** What the API server says of the objects of the chart, without making any: fields, and Pod Security. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { cases, CHART, dependents, objects, template } from '../chart/helm.ts';
import { waitFor } from '../lab/namespaces.ts';
import { DEADLINE_MS, IMAGES, openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { NETWORKS } from './control-plane.ts';
import { isForeign, within } from './operators.ts';

describe('the API server', () => {
  const charts = dependents();
  let cluster: Cluster;
  let place: TestNamespace;
  before(async () => {
    cluster = await openCluster();
    place = await cluster.namespace();
    await accountOf(place);
  });
  after(async () => {
    charts.close();
    await place?.remove();
    await cluster?.close();
  });

  const dryRun = ['create', '--dry-run=server', '--validate=strict', '--output=name', '--filename=-'];

  for (const { name, chart, args } of cases(charts.folder)) {
    test(`takes every object of the case ${name}, and knows every field`, async () => {
      // Those of operators: operators.test.ts.
      const known = objects(template(chart, ...args)).filter((object) => !isForeign(object));
      const { stdout } = await place.kubectl(dryRun, { input: within(place.name, known) });
      assert.equal(stdout.trim().split('\n').length, known.length);
    });
  }

  test('is asked by Helm for the networks of the cluster where they are not given', async () => {
    const example = join(charts.folder, 'example');
    const words = ['install', 'web', example, '--namespace', place.name, '--dry-run=server'];
    const { stdout } = await cluster.helm([...words, '--set-json', 'netproxy.cluster.cidrs=[]']);
    const value = /name: NETPROXY_LOCAL\n\s*value: (\S+)/.exec(stdout)?.[1];
    if (outsideLab() === false) assert.equal(value, `${NETWORKS.services},${NETWORKS.pods}`);
    else assert.match(value ?? '', /\/\d/);
  });

  describe('by the levels of Pod Security', () => {
    /** A pod with the sidecar of a case, and an application that every level takes. */
    const withSidecar = (args: readonly string[]): string => {
      const map = objects(template(CHART, ...args)).find(({ metadata }) =>
        metadata.name.endsWith('-profiles'),
      );
      const fragment = objects(map?.data?.['default.yaml'] ?? '')[0] as unknown as {
        container: object;
        volumes: object[];
      };
      const hardened = {
        runAsNonRoot: true,
        runAsUser: 1000,
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        seccompProfile: { type: 'RuntimeDefault' },
      };
      const spec = {
        initContainers: [fragment.container],
        containers: [{ name: 'app', image: IMAGES.node, securityContext: hardened }],
        volumes: fragment.volumes,
      };
      return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'app' }, spec });
    };
    const caseArgs = (name: string): readonly string[] =>
      cases(charts.folder).find((each) => each.name === name)!.args;

    /** What the level has against the pod, by the names that it has for it; empty when there is nothing. */
    const objections = async (level: string, manifest: string): Promise<string[]> => {
      await using namespace = await cluster.namespace({ 'pod-security.kubernetes.io/enforce': level });
      await accountOf(namespace);
      const done = await namespace.kubectl(dryRun, { input: manifest, mayFail: true });
      if (done.code === 0) return [];
      const told = /violates PodSecurity "[^"]*": (.*)/.exec(done.stderr)?.[1];
      assert.ok(told !== undefined, done.stderr);
      return told.split(/(?<=\)), /).map((part) => part.slice(0, part.indexOf(' (')));
    };

    test('baseline has two things against a sidecar, with a device plugin one, and privileged nothing', async () => {
      const hostPath = withSidecar(caseArgs('injector'));
      const plugin = withSidecar(caseArgs('device-plugin'));
      assert.deepEqual(await objections('baseline', hostPath), [
        'non-default capabilities',
        'hostPath volumes',
      ]);
      assert.deepEqual(await objections('baseline', plugin), ['non-default capabilities']);
      assert.deepEqual(await objections('privileged', hostPath), []);
      assert.deepEqual(await objections('privileged', plugin), []);
    });

    test('restricted has against it beside these only that it is root', async () => {
      const found = await objections('restricted', withSidecar(caseArgs('device-plugin')));
      assert.deepEqual(found, ['unrestricted capabilities', 'runAsNonRoot != true', 'runAsUser=0']);
    });

    test('restricted has nothing against the injector', async () => {
      const all = objects(template(CHART, ...caseArgs('injector')));
      const deployment = all.find(({ kind }) => kind === 'Deployment') as unknown as {
        spec: { template: { metadata: object; spec: Record<string, unknown> } };
      };
      const { serviceAccountName: _, ...spec } = deployment.spec.template.spec;
      const manifest = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'injector' }, spec };
      assert.deepEqual(await objections('restricted', JSON.stringify(manifest)), []);
    });
  });
});

/** Waits for the account that pods of a new namespace have. */
async function accountOf(place: TestNamespace): Promise<void> {
  const look = ['get', 'serviceaccount', 'default'];
  await waitFor(
    'the account',
    async () => (await place.kubectl(look, { mayFail: true })).code === 0,
    DEADLINE_MS,
  );
}
