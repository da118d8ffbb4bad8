/** The injector and a real API server: processes on its node, with the rights that the chart gives. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TLS_LIFETIME_MS, TLS_SETTLE_MS } from '../../src/core/limits.ts';
import { writeKept } from '../../src/injector/authority-step.ts';
import { makeGeneration } from '../../src/injector/certificate.ts';
import { waitFor } from '../lab/namespaces.ts';
import { DEADLINE_MS, openCluster, outsideLab } from './cluster.ts';
import type { Cluster } from './cluster.ts';
import { InjectorSite, pod, PORTS } from './injector-site.ts';
import type { Replica } from './injector-site.ts';
import { watchDuring } from './injector-watch.ts';

const DAY_MS = 86_400_000;
/** Beside the time that an authority is given to be known, for a machine with other work. */
const ROTATION_DEADLINE_MS = TLS_SETTLE_MS + DEADLINE_MS;
const NEIGHBOUR_PORT = 28_445;

interface PodObject {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly initContainers?: readonly {
      readonly name: string;
      readonly env?: readonly { readonly name: string; readonly value?: string }[];
    }[];
    readonly volumes: readonly { readonly name: string }[];
  };
}

const read = (text: string): PodObject => JSON.parse(text) as PodObject;
const admissions = ({ lines }: Replica): unknown[] =>
  lines.filter(({ msg }) => msg === 'admission').map(({ pod: name, result }) => [name, result]);

// In this order: each goes on with what the one before has left.
describe('the injector and a real API server', { skip: outsideLab() }, () => {
  let cluster: Cluster;
  let site: InjectorSite;
  let replicas: Replica[];
  before(async () => {
    cluster = await openCluster();
    site = await InjectorSite.open(cluster);
  });
  after(async () => {
    await site?.close();
    await cluster?.close();
  });

  const told = (replica: Replica, text: string): Promise<true> =>
    waitFor(text, async () => replica.lines.some(({ msg }) => msg === text), DEADLINE_MS);

  test('two that start at once make one certificate, which the webhook configuration trusts', async () => {
    assert.equal(await site.bundle(), '');
    replicas = await Promise.all(PORTS.map((_, index) => site.start(index)));
    for (const [index, { ready }] of replicas.entries())
      assert.equal(await ready, `netproxy injector is ready at 127.0.0.1:${PORTS[index]!.webhook}\n`);
    const made = replicas.flatMap(({ lines }) =>
      lines.filter(({ msg }) => msg === 'made the current certificate'),
    );
    assert.equal(made.length, 1, JSON.stringify(made));
    const kept = await site.kept();
    assert.deepEqual(
      Object.keys(kept).toSorted((a, b) => (a < b ? -1 : 1)),
      ['ca.crt', 'tls.crt', 'tls.key'],
    );
    assert.equal(await site.bundle(), kept['ca.crt']);
    for (const { lines } of replicas) assert.ok(!JSON.stringify(lines).includes('PRIVATE KEY'));
  });

  test('a labelled pod gets the sidecar, and nobody is asked about another', async () => {
    const labelled = await site.create(pod('labelled'));
    assert.equal(labelled.code, 0, labelled.stderr);
    const { metadata, spec } = read(labelled.stdout);
    assert.equal(metadata.annotations?.['netproxy.io/injected'], 'default');
    assert.deepEqual(
      spec.initContainers?.map(({ name }) => name),
      ['netproxy'],
    );
    assert.ok(spec.volumes.some(({ name }) => name === 'netproxy-config'));
    const local = spec.initContainers?.[0]?.env?.find(({ name }) => name === 'NETPROXY_LOCAL')?.value;
    // The range of Services that the API server was started with.
    assert.ok(local?.split(',').includes('10.96.0.0/16'), local ?? 'none');
    const plain = await site.create(pod('plain', {}, { labels: { 'netproxy.io/inject': 'false' } }));
    assert.equal(plain.code, 0, plain.stderr);
    assert.equal(read(plain.stdout).spec.initContainers, undefined);
    const dry = await site.create(pod('dry'), '--dry-run=server');
    assert.deepEqual(
      read(dry.stdout).spec.initContainers?.map(({ name }) => name),
      ['netproxy'],
    );
    await waitFor('their lines', () => admissions(replicas[0]!).length >= 4);
    // Again after the API server had mounted the token of the service account, which is no reason to change anything.
    assert.deepEqual(admissions(replicas[0]!), [
      ['labelled', 'injected'],
      ['labelled', 'unchanged'],
      ['dry', 'injected'],
      ['dry', 'unchanged'],
    ]);
    assert.deepEqual(admissions(replicas[1]!), []);
  });

  test('what is refused says why', async () => {
    const refused = async (made: object, why: RegExp): Promise<void> => {
      const { code, stderr } = await site.create(made);
      assert.notEqual(code, 0);
      assert.match(stderr, /admission webhook "inject\.netproxy\.io" denied the request: netproxy: /);
      assert.match(stderr, why);
    };
    await refused(pod('r', { hostNetwork: true }), /hostNetwork: true/);
    const annotated = (annotations: object): object =>
      pod('r', {}, { annotations, labels: { 'netproxy.io/inject': 'true' } });
    await refused(annotated({ 'netproxy.io/profile': 'defalt' }), /did you mean "default"/);
    await refused(annotated({ 'netproxy.io/local': 'db.example' }), /found "db.example"; allowed: networks/);
    await refused(
      pod('r', { initContainers: [{ name: 'netproxy', image: 'x' }] }),
      /has a container netproxy already/,
    );
  });

  test('called again after another webhook, it comes first, and once', async () => {
    const neighbour = await makeGeneration(['127.0.0.1'], Date.now());
    const program = join(import.meta.dirname, 'injector-neighbour.ts');
    const { certificate, key, authority } = neighbour;
    const child = cluster.site.node.spawn(
      [process.execPath, program, String(NEIGHBOUR_PORT), certificate, key],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    // The API server asks in the order of names.
    const name = `zz-${site.webhook}`;
    try {
      await once(child.stdout!, 'data');
      await site.own.apply({
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'MutatingWebhookConfiguration',
        metadata: { name },
        webhooks: [
          {
            ...{ name: 'mesh.example.com', admissionReviewVersions: ['v1'], sideEffects: 'None' },
            clientConfig: {
              url: `https://127.0.0.1:${NEIGHBOUR_PORT}/`,
              caBundle: Buffer.from(authority).toString('base64'),
            },
            rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] }],
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': site.apps.name } },
          },
        ],
      });
      const spec = await waitFor(
        'the other webhook to be asked',
        async () => {
          const { stdout, stderr, code } = await site.create(pod('both'), '--dry-run=server');
          assert.equal(code, 0, stderr);
          return stdout.includes('"mesh"') && read(stdout).spec;
        },
        DEADLINE_MS,
      );
      assert.deepEqual(
        spec.initContainers?.map((container) => container.name),
        ['netproxy', 'mesh'],
      );
      assert.equal(spec.volumes.filter((volume) => volume.name === 'netproxy-config').length, 1);
    } finally {
      await cluster.kubectl(['delete', 'mutatingwebhookconfigurations', name, '--ignore-not-found']);
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    }
  });

  test('a certificate is renewed without one admission that fails', async () => {
    // As if made long ago: it is due at once.
    const aged = await makeGeneration(['127.0.0.1'], Date.now() - TLS_LIFETIME_MS + 20 * DAY_MS);
    const data = JSON.stringify({ data: writeKept({ current: aged }) });
    await site.own.kubectl(['patch', `secret/${site.secret}`, '--type=merge', `--patch=${data}`]);
    const made = 'made the next certificate';
    await waitFor(
      'the next one',
      async () => replicas.some(({ lines }) => lines.some(({ msg }) => msg === made)),
      DEADLINE_MS,
    );
    const served = ({ lines }: Replica): number =>
      lines.filter(({ msg }) => msg === 'serving a certificate').length;
    await waitFor(
      'both serve the aged one',
      async () => replicas.every((each) => served(each) === 2),
      DEADLINE_MS,
    );
    // Who made it says so before it changes the webhook.
    await waitFor(
      'both to be trusted',
      async () => (await site.bundle()) === aged.authority + (await site.kept())['next-ca.crt'],
      DEADLINE_MS,
    );

    const watching = await site.watching();
    const watch = await watchDuring(cluster.site.node, watching, async () => {
      await waitFor(
        'both serve the next one',
        async () => replicas.every((each) => served(each) === 3),
        ROTATION_DEADLINE_MS,
      );
    });
    const { failures, admissions: asked, certificates } = watch;
    assert.deepEqual(failures, []);
    assert.ok(asked >= 20, `${asked} admissions`);
    assert.equal(certificates, 2);
    const kept = await site.kept();
    assert.equal(kept['former-ca.crt'], aged.authority);
    assert.equal(kept['next-ca.crt'], undefined);
    await waitFor(
      'the former to be trusted still',
      async () => (await site.bundle()) === `${kept['ca.crt']}${aged.authority}`,
      DEADLINE_MS,
    );
  });

  test('what others take away is put back, and an emptied Secret is filled anew', async () => {
    const before = await site.bundle();
    const path = '/webhooks/0/clientConfig/caBundle';
    const patch = (what: string, ...operations: object[]): Promise<unknown> =>
      site.own.kubectl(['patch', what, '--type=json', `--patch=${JSON.stringify(operations)}`]);
    await patch(`mutatingwebhookconfigurations/${site.webhook}`, { op: 'remove', path });
    await waitFor('the bundle', async () => (await site.bundle()) === before, DEADLINE_MS);
    await patch(`secret/${site.secret}`, { op: 'remove', path: '/data' });
    const authority = await waitFor(
      'another authority',
      async () => (await site.kept())['ca.crt'],
      DEADLINE_MS,
    );
    assert.notEqual(authority, before);
    await waitFor('it is trusted', async () => (await site.bundle()) === authority, DEADLINE_MS);
    await waitFor(
      'a pod is injected',
      async () => (await site.create(pod('anew'), '--dry-run=server')).code === 0,
      DEADLINE_MS,
    );
  });

  test('told to end, it ends in order; then labelled pods are refused, and others are created', async () => {
    for (const { child } of replicas) child.kill('SIGTERM');
    await told(replicas[0]!, 'answering until nobody asks any more');
    // It may still be asked.
    assert.equal((await site.create(pod('late'), '--dry-run=server')).code, 0);
    for (const { exited } of replicas) assert.deepEqual(await exited, [0, null]);
    const refused = await site.create(pod('refused'));
    assert.match(refused.stderr, /failed calling webhook "inject\.netproxy\.io"/);
    const plain = await site.create(pod('free', {}, { labels: {} }));
    assert.equal(plain.code, 0, plain.stderr);
  });
});
