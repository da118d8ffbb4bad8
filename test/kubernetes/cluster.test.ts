/** The cluster itself: what the other tests of this folder rest on. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { waitFor } from '../lab/namespaces.ts';
import { DEADLINE_MS, IMAGES, openCluster } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';

interface Pod {
  readonly status: { readonly podIP: string };
}

const SERVE = "require('http').createServer((q, r) => r.end('hello')).listen(8080)";
/** Sleeps until it is told to end, which the first process of a container would not hear of by default. */
const SLEEP = "process.on('SIGTERM', () => process.exit()); setInterval(() => {}, 1e6)";

function pod(name: string, program: string): object {
  const container = { name, image: IMAGES.node, imagePullPolicy: 'Never', command: ['node', '-e', program] };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, containers: [container] },
  };
}

describe('the cluster', () => {
  let cluster: Cluster;
  let place: TestNamespace;
  before(async () => {
    cluster = await openCluster();
    place = await cluster.namespace();
  });
  after(async () => {
    await place?.remove();
    await cluster?.close();
  });

  test('has nodes that are ready', async () => {
    await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', 'node', '--all']);
  });

  test('leads pods to each other, by address and by the name of a Service', async () => {
    await place.apply(pod('server', SERVE), pod('client', SLEEP), {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'server' },
      spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    await place.until('Ready', 'pod/server');
    await place.until('Ready', 'pod/client');
    const { status } = await place.get<Pod>('pod/server');
    for (const host of [`${status.podIP}:8080`, 'server', `server.${place.name}.svc.cluster.local`]) {
      const program = `fetch('http://${host}').then((r) => r.text()).then(console.log)`;
      // The proxy and the DNS come to know of the Service a moment after the pod is ready.
      const said = await waitFor(
        `an answer of ${host}`,
        async () => (await place.exec('client', 'client', ['node', '-e', program], { mayFail: true })).stdout,
        DEADLINE_MS,
      );
      assert.equal(said, 'hello\n');
    }
  });

  test('finds a field that nobody knows', async () => {
    const wrong = JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'wrong' },
      spec: { containers: [{ name: 'a', image: IMAGES.node, portz: [] }] },
    });
    const words = ['apply', '--dry-run=server', '--validate=strict', '--filename=-'];
    const done = await place.kubectl(words, { input: wrong, mayFail: true });
    assert.equal(done.code, 1);
    assert.match(done.stderr, /unknown field "spec\.containers\[0\]\.portz"/);
    await place.kubectl(words, { input: JSON.stringify(pod('right', SERVE)) });
  });
});
