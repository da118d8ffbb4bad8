/** The injector as the chart installs it: replicas in pods, asked by the API server through their Service. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from '../netns/ports.ts';
import { DEADLINE_MS, IMAGES, openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { apiAccess, CHART, imageValues } from './injector-site.ts';
import { watchDuring } from './injector-watch.ts';
import type { Watching } from './injector-watch.ts';

const BASTION_PORT = 2207;
const PODS = 30;
const LABELS = { 'netproxy.io/inject': 'true' };

interface List {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly initContainers?: readonly { readonly name: string }[] };
  }[];
}

// In this order: each goes on with what the one before has left.
describe('the injector that the chart installs', { skip: outsideLab() }, () => {
  let cluster: Cluster;
  let own: TestNamespace;
  let apps: TestNamespace;
  let sshd: Sshd;
  before(async () => {
    cluster = await openCluster();
    [own, apps] = [await cluster.namespace(), await cluster.namespace()];
    sshd = await startSshd({
      ...{ netns: cluster.site.bastion.name, address: LAB.bastion.v4, port: BASTION_PORT, etc: true },
    });
    const { address: host, port, user } = sshd;
    const values = {
      ...imageValues,
      // What the API server knows of is enough.
      cluster: { cidrs: [] },
      profiles: {
        default: {
          namespaces: [apps.name],
          bastions: [{ name: 'main', host, port, user }],
          existingSecret: 'bastion-key',
          knownHosts: readFileSync(sshd.knownHostsFile, 'utf8'),
        },
      },
    };
    const words = ['install', own.name, CHART, '--namespace', own.name, '--values', '-'];
    await cluster.helm(words, { input: JSON.stringify(values) });
    await own.until('Available', `deployment/${own.name}-netproxy-injector`);
    const stringData = { key: readFileSync(sshd.clientKeyFile, 'utf8') };
    await apps.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'bastion-key' }, stringData });
  });
  after(async () => {
    if (own !== undefined) {
      await cluster.helm(['uninstall', own.name, '--namespace', own.name], { mayFail: true });
      await own.remove();
    }
    await apps?.remove();
    await sshd?.stop();
    await cluster?.close();
  });

  test('a Job that is injected reaches a target by the bastion, and completes', async () => {
    const program = `const socket = require('net').connect(${PORTS.echo}, '${LAB.target.v4}', () => socket.write('hello'));
      socket.on('data', (data) => { console.log(String(data)); process.exit(); });`;
    const container = {
      name: 'app',
      image: IMAGES.node,
      imagePullPolicy: 'Never',
      command: ['node', '-e', program],
    };
    const spec = { restartPolicy: 'Never', containers: [container] };
    await apps.apply({
      ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'asks' } },
      spec: { backoffLimit: 0, template: { metadata: { labels: LABELS }, spec } },
    });
    await apps.until('Complete', 'job/asks', 2 * DEADLINE_MS);
    assert.equal(await apps.logs('job/asks', 'app'), 'hello\n');
  });

  test(`of ${PODS} pods at once every one is injected`, async () => {
    await apps.apply({
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'many' } },
      spec: {
        replicas: PODS,
        selector: { matchLabels: { app: 'many' } },
        template: {
          metadata: { labels: { app: 'many', ...LABELS } },
          // They are created and stay so: it is their creation that is looked at.
          spec: { nodeSelector: { nowhere: 'true' }, containers: [{ name: 'app', image: IMAGES.node }] },
        },
      },
    });
    const items = await waitFor(
      'all pods',
      async () => {
        const { stdout } = await apps.kubectl(['get', 'pods', '--selector=app=many', '--output=json']);
        const found = (JSON.parse(stdout) as List).items;
        return found.length === PODS && found;
      },
      DEADLINE_MS,
    );
    for (const { metadata, spec } of items)
      assert.deepEqual(
        spec.initContainers?.map(({ name }) => name),
        ['netproxy'],
        metadata.name,
      );
    const { stdout } = await apps.kubectl([
      'get',
      'events',
      '--field-selector=reason=FailedCreate',
      '--output=name',
    ]);
    assert.equal(stdout, '');
  });

  test('replicas are exchanged without one admission that fails', async () => {
    const watching: Watching = {
      ...(await apiAccess(cluster)),
      pods: `/api/v1/namespaces/${apps.name}/pods`,
      webhook: `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${own.name}-netproxy`,
      pod: {
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'watched', labels: LABELS } },
        spec: { containers: [{ name: 'app', image: IMAGES.node }] },
      },
      ports: [],
    };
    const name = `deployment/${own.name}-netproxy-injector`;
    const { failures, admissions } = await watchDuring(cluster.site.node, watching, async () => {
      await own.kubectl(['rollout', 'restart', name]);
      await own.kubectl(['rollout', 'status', name, `--timeout=${DEADLINE_MS / 1000}s`], {
        timeoutMs: 2 * DEADLINE_MS,
      });
      await waitFor(
        'the former replicas to be gone',
        async () => {
          const words = ['get', 'pods', '--selector=app.kubernetes.io/component=injector', '--output=name'];
          return (await own.kubectl(words)).stdout.trim().split('\n').length === 2;
        },
        DEADLINE_MS,
      );
    });
    assert.deepEqual(failures, []);
    assert.ok(admissions >= 10, `${admissions} admissions`);
  });

  test('after an uninstall nothing of it is left, and nobody is asked', async () => {
    await cluster.helm(['uninstall', own.name, '--namespace', own.name, '--wait']);
    const kinds = 'mutatingwebhookconfigurations,clusterroles,clusterrolebindings';
    const selector = `app.kubernetes.io/instance=${own.name}`;
    const { stdout } = await cluster.kubectl(['get', kinds, '--selector', selector, '--output=name']);
    assert.equal(stdout, '');
    const secrets = await own.kubectl(['get', 'secrets,roles,deployments', '--output=name']);
    assert.equal(secrets.stdout, '');
  });
});
