/** The injector with a certificate of cert-manager, whose own controllers make it and have the API server trust it. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { CHART } from '../chart/helm.ts';
import type { KubernetesObject } from '../chart/helm.ts';
import { waitFor } from '../lab/namespaces.ts';
import { DEADLINE_MS, openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { apiAccess, pod, VALUES } from './injector-site.ts';
import { watchDuring } from './injector-watch.ts';
import type { Watching } from './injector-watch.ts';
import { defineKinds, forgetKinds, startCertManager } from './operators.ts';
import type { Operator } from './operators.ts';

/** For the pods of a release to be there. */
const SETTLED_MS = 120_000;
/** Its Secret is called so, behind the name of the release. */
const PART = 'injector-certificate';
/** Prints the fingerprint of what each of these addresses serves. */
const LOOK = `const { connect } = require('node:tls');
for (const host of process.argv.slice(1)) {
  const socket = connect({ host, port: 8443, rejectUnauthorized: false, timeout: 5_000 }, () => {
    console.log(socket.getPeerX509Certificate().fingerprint256);
    socket.destroy();
  });
  socket.on('timeout', () => socket.destroy()).on('error', () => {});
}`;

interface Injector extends KubernetesObject {
  readonly metadata: KubernetesObject['metadata'] & {
    readonly uid: string;
    readonly deletionTimestamp?: string;
  };
  readonly status: {
    readonly podIP?: string;
    readonly containerStatuses: readonly { readonly restartCount: number }[];
  };
}

interface Webhooks {
  readonly webhooks: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
}

// In this order: each goes on with what the one before has left.
describe('a certificate of cert-manager', { skip: outsideLab() }, () => {
  let cluster: Cluster;
  let operator: Operator;
  let own: TestNamespace;
  let apps: TestNamespace;
  /** Of the Certificate. */
  let name = '';
  before(async () => {
    cluster = await openCluster();
    await defineKinds(cluster);
    [own, apps] = [await cluster.namespace(), await cluster.namespace()];
    name = `${own.name}-netproxy-injector-tls`;
    operator = startCertManager(cluster, own.name);
    await apps.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'app' } });
  });
  after(async () => {
    if (own !== undefined) {
      await cluster.helm(['uninstall', own.name, '--namespace', own.name, '--ignore-not-found'], {
        mayFail: true,
      });
      await own.remove();
    }
    await apps?.remove();
    await operator?.stop();
    if (cluster !== undefined) await forgetKinds(cluster);
    await cluster?.close();
  });

  const helm = async (command: string, ...words: string[]): Promise<void> => {
    const wait = ['--wait', '--timeout', `${SETTLED_MS / 1000}s`];
    await cluster
      .helm([command, own.name, CHART, '--namespace', own.name, ...wait, ...words], {
        ...{ input: JSON.stringify(VALUES), timeoutMs: SETTLED_MS + 30_000 },
      })
      .catch(async (error: unknown) => {
        throw new Error(`${String(error)}\n${await own.story()}\n${operator.tail()}`);
      });
  };
  const installed = ['--values', '-', '--set', 'certManager.enabled=true'];

  /** Whom the API server trusts. */
  const trusted = async (): Promise<string> => {
    const found = await cluster.kubectl([
      'get',
      `mutatingwebhookconfiguration/${own.name}-netproxy`,
      '--output=json',
    ]);
    const [webhook] = (JSON.parse(found.stdout) as Webhooks).webhooks;
    return Buffer.from(webhook?.clientConfig.caBundle ?? '', 'base64').toString();
  };
  /** What a Secret of the release has, as texts. */
  const secretOf = async (part: string): Promise<Record<string, string>> => {
    const { type, data = {} } = await own.get<KubernetesObject>(`secret/${own.name}-netproxy-${part}`);
    const texts = Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]);
    return { type: String(type), ...Object.fromEntries(texts) } as Record<string, string>;
  };
  /** What cert-manager keeps for the release. */
  const kept = async (): Promise<{ type: string; authority: string; certificate: X509Certificate }> => {
    const { type = '', 'ca.crt': authority = '', 'tls.crt': certificate = '' } = await secretOf(PART);
    return { type, authority, certificate: new X509Certificate(certificate) };
  };
  /** Those that are not about to end. */
  const injectors = async (): Promise<readonly Injector[]> => {
    const words = ['get', 'pods', '--selector=app.kubernetes.io/component=injector', '--output=json'];
    const { items } = JSON.parse((await own.kubectl(words)).stdout) as { items: Injector[] };
    return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  };
  /** Waits until each injector serves this certificate. */
  const served = async ({ fingerprint256 }: X509Certificate): Promise<void> => {
    await waitFor(
      'the certificate to be served',
      async () => {
        const addresses = (await injectors()).map(({ status }) => status.podIP ?? '');
        const { stdout } = await cluster.site.node.run([process.execPath, '-e', LOOK, ...addresses], {
          mayFail: true,
        });
        const seen = stdout.trim().split('\n');
        return seen.length === addresses.length && seen.every((each) => each === fingerprint256);
      },
      DEADLINE_MS,
    );
  };
  /** Waits until the Secret has another certificate than this one; gives what it has. */
  const another = async ({ fingerprint256 }: X509Certificate): Promise<Awaited<ReturnType<typeof kept>>> =>
    waitFor(
      'another certificate',
      async () => {
        const now = await kept();
        return now.certificate.fingerprint256 !== fingerprint256 && now;
      },
      DEADLINE_MS,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${operator.tail()}`);
    });
  /** Does something while labelled pods are made all the time: none is refused, and no injector restarts. */
  const unnoticed = async (body: () => Promise<void>): Promise<void> => {
    const watching: Watching = {
      ...(await apiAccess(cluster)),
      pods: `/api/v1/namespaces/${apps.name}/pods`,
      webhook: `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${own.name}-netproxy`,
      ...{ pod: pod('watched'), ports: [] },
    };
    const lives = async (): Promise<unknown> =>
      (await injectors()).map(({ metadata, status }) => [
        metadata.uid,
        ...status.containerStatuses.map(({ restartCount }) => restartCount),
      ]);
    const first = await lives();
    const { failures, admissions } = await watchDuring(cluster.site.node, watching, body);
    assert.deepEqual(failures, []);
    assert.ok(admissions >= 10, `${admissions} admissions`);
    assert.deepEqual(await lives(), first);
  };
  /** A labelled pod gets the sidecar. */
  const injected = async (): Promise<void> => {
    const words = ['create', '--dry-run=server', '--output=json', '--filename=-'];
    const made = JSON.parse(
      (await apps.kubectl(words, { input: JSON.stringify(pod('asks')) })).stdout,
    ) as KubernetesObject;
    assert.equal(made.metadata.annotations?.['netproxy.io/injected'], 'default');
  };

  test('is made for an installation, served by its injectors and trusted', async () => {
    await helm('install', ...installed);
    await own.until('Ready', `certificate/${name}`);
    const { type, authority, certificate } = await kept();
    assert.equal(type, 'kubernetes.io/tls');
    assert.equal(certificate.subjectAltName, `DNS:${own.name}-netproxy-injector.${own.name}.svc`);
    assert.equal(await trusted(), authority);
    await served(certificate);
    await injected();
    const warnings = '--field-selector=type=Warning,involvedObject.kind=CertificateRequest';
    assert.equal((await own.kubectl(['get', 'events', warnings, '--output=name'])).stdout, '');
  });

  test('is renewed without one admission that fails, and without a restart', async () => {
    const before = await kept();
    await unnoticed(async () => {
      // As cmctl does when a person asks for it; a timer does the same.
      const asked = { type: 'Issuing', status: 'True', reason: 'ManuallyTriggered', message: 'by a test' };
      const patch = [{ op: 'add', path: '/status/conditions/-', value: asked }];
      const words = ['patch', `certificate/${name}`, '--subresource=status', '--type=json'];
      await own.kubectl([...words, `--patch=${JSON.stringify(patch)}`]);
      const { authority, certificate } = await another(before.certificate);
      await served(certificate);
      assert.notEqual(authority, before.authority);
      assert.ok((await trusted()).includes(authority.trim()));
    });
    const renewed = await kept();
    assert.ok(!renewed.certificate.publicKey.equals(before.certificate.publicKey));
  });

  test('of an authority takes its place in the same way', async () => {
    const issuer = (kind: string, issuerName: string, spec: object): object => ({
      ...{ apiVersion: 'cert-manager.io/v1', kind, metadata: { name: issuerName }, spec },
    });
    await own.apply(
      issuer('Issuer', 'root', { selfSigned: {} }),
      {
        ...{ apiVersion: 'cert-manager.io/v1', kind: 'Certificate', metadata: { name: 'company' } },
        spec: {
          ...{ secretName: 'company', isCA: true, commonName: 'company' },
          issuerRef: { name: 'root', kind: 'Issuer' },
        },
      },
      // It has its Secret where cert-manager is.
      issuer('ClusterIssuer', own.name, { ca: { secretName: 'company' } }),
    );
    await own.until('Ready', `clusterissuer/${own.name}`);
    const before = await kept();
    await unnoticed(async () => {
      await helm(
        'upgrade',
        '--reuse-values',
        '--set',
        `certManager.issuerRef.name=${own.name},certManager.issuerRef.kind=ClusterIssuer`,
      );
      const { authority, certificate } = await another(before.certificate);
      await served(certificate);
      assert.ok(certificate.verify(new X509Certificate(authority).publicKey));
      assert.equal(certificate.issuer, 'CN=company');
      assert.ok((await trusted()).includes(authority.trim()));
    });
  });

  test('leaves its place to those that the injector makes, and takes it again', async () => {
    await helm('upgrade', '--reuse-values', '--set', 'certManager.enabled=false');
    const { certificate: former } = await kept();
    await served(new X509Certificate((await secretOf('injector-tls'))['tls.crt']!));
    await injected();
    await helm('upgrade', '--reuse-values', '--set', 'certManager.enabled=true');
    await own.until('Ready', `certificate/${name}`);
    // It was still good.
    await served(former);
    await injected();
  });

  test('leaves its Secret after an uninstall, and nothing else', async () => {
    await cluster.helm(['uninstall', own.name, '--namespace', own.name, '--wait']);
    const { stdout } = await own.kubectl(['get', 'secrets,certificates,issuers', '--output=name']);
    const left = stdout.split('\n').filter((each) => each.includes('netproxy'));
    assert.deepEqual(left, [`secret/${own.name}-netproxy-${PART}`]);
  });
});
