/** A release of the chart from its beginning to its end: the commands of the README, and what comes after them. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { CHART } from '../chart/helm.ts';
import type { KubernetesObject } from '../chart/helm.ts';
import { waitFor } from '../lab/namespaces.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from '../netns/ports.ts';
import { DEADLINE_MS, IMAGES, openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { app, APP_VOLUME, reaches, startBastion } from './sidecar.ts';

const checkout = resolve(import.meta.dirname, '../..');
const BASTION_PORT = 2206;
/** For the pods of a release to be there, or gone. */
const SETTLED_MS = 120_000;

/** Names of the containers of a pod with the sidecar. */
const NATIVE = { initContainers: ['netproxy'], containers: ['app'] };

interface Webhooks {
  readonly webhooks: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
}

describe('a release', { skip: outsideLab() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'netproxy-release-'));
  let cluster: Cluster;
  let sshd: Sshd;
  let place: TestNamespace;
  /** The namespace of the release. */
  let system = '';
  before(async () => {
    cluster = await openCluster();
    sshd = await startBastion(cluster.site, BASTION_PORT);
    place = await cluster.namespace();
    system = `${place.name}-system`;
    const data = { 'app.ts': readFileSync(join(checkout, 'test/engine/app.ts'), 'utf8') };
    await place.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'app' }, data });
    mkdirSync(join(folder, '.ssh'));
    copyFileSync(sshd.clientKeyFile, join(folder, '.ssh/id_ed25519'));
  });
  after(async () => {
    await cluster?.helm(['uninstall', 'netproxy', '--namespace', system, '--ignore-not-found'], {
      mayFail: true,
    });
    await cluster?.kubectl(['delete', 'namespace', system, '--wait=false', '--ignore-not-found']);
    await place?.remove();
    await sshd?.stop();
    await cluster?.close();
    rmSync(folder, { recursive: true });
  });

  const readme = readFileSync(join(checkout, 'README.md'), 'utf8');
  const helm = (...words: string[]): Promise<{ stdout: string }> =>
    cluster.helm([...words, '--namespace', system], { timeoutMs: SETTLED_MS + 30_000 });
  const trusted = async (): Promise<string> => {
    const { stdout } = await cluster.kubectl([
      'get',
      'mutatingwebhookconfiguration/netproxy',
      '--output=json',
    ]);
    return (JSON.parse(stdout) as Webhooks).webhooks[0]?.clientConfig.caBundle ?? '';
  };
  /** A pod as a person would write it, with the label. */
  const labelled = (name: string): string =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels: { 'netproxy.io/inject': 'true' } },
      spec: {
        terminationGracePeriodSeconds: 2,
        automountServiceAccountToken: false,
        containers: [app()],
        volumes: [APP_VOLUME],
      },
    });

  /** Makes a labelled pod and waits until it reaches the target by the bastion; gives the names of its containers. */
  const inject = async (name: string): Promise<typeof NATIVE> => {
    await place.apply(labelled(name));
    await place.until('Ready', `pod/${name}`);
    await reaches(place, name, PORTS.echo);
    type Lists = Partial<Record<keyof typeof NATIVE, readonly { readonly name: string }[]>>;
    const made = (await place.get<{ spec: Lists }>(`pod/${name}`)).spec;
    const names = (key: keyof Lists): string[] => (made[key] ?? []).map((container) => container.name);
    return { initContainers: names('initContainers'), containers: names('containers') };
  };

  test('is installed and tested by the commands of the README', async () => {
    const [values = ''] = [...readme.matchAll(/^```yaml\n(image:.*?)^```$/gms)].map(
      (match) => match[1] ?? '',
    );
    const [, hostKey = ''] = /^\S+ (\S+ \S+)/m.exec(readFileSync(sshd.knownHostsFile, 'utf8')) ?? [];
    const [repository = '', tag = ''] = IMAGES.netproxy.split(/:(?=\w+$)/);
    const here = values
      .replace('registry.example/netproxy }', `${repository}, tag: ${tag} }`)
      .replace('[default]', `[${place.name}]`)
      .replace(
        'host: bastion.example, user: deploy',
        `host: ${sshd.address}, port: ${sshd.port}, user: ${sshd.user}`,
      )
      .replace(/bastion\.example ssh-ed25519 \S+/, `"[${sshd.address}]:${sshd.port} ${hostKey}"`);
    assert.doesNotMatch(here, /example/);
    writeFileSync(join(folder, 'values.yaml'), here);
    const commands = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)]
      .flatMap((block) => (block[1] ?? '').split('\n'))
      .filter((line) => /^(helm|kubectl) /.test(line));
    assert.equal(commands.length, 3);
    for (const line of commands) {
      const words = line
        .replace('$HOME', folder)
        .replace('values.yaml', join(folder, 'values.yaml'))
        .replace('charts/netproxy', CHART)
        .replace('--namespace default', `--namespace ${place.name}`)
        .replace('--namespace netproxy', `--namespace ${system}`)
        .split(' ');
      const [program, ...rest] = words;
      const options = { timeoutMs: SETTLED_MS + 30_000 };
      const done = await (
        program === 'helm' ? cluster.helm(rest, options) : cluster.kubectl(rest, options)
      ).catch(async (error: unknown) => {
        const story = await cluster.kubectl(['get', 'pods,events', '--namespace', system], { mayFail: true });
        throw new Error(`${String(error)}\n${story.stdout}\n${await place.story()}`);
      });
      if (line.startsWith('helm test')) assert.match(done.stdout, /Phase:\s+Succeeded/);
    }
  });

  test('gives labelled pods a sidecar by which they reach the target', async () => {
    assert.deepEqual(await inject('first'), NATIVE);
    const { metadata } = await place.get<KubernetesObject>('pod/first');
    assert.equal(metadata.annotations?.['netproxy.io/injected'], 'default');
  });

  test('has labelled pods refused in its own namespace, where the injector is not asked', async () => {
    const input = labelled('a');
    const words = ['create', '--namespace', system, '--dry-run=server', '--filename=-'];
    // The API server learns of a new policy a moment later.
    await waitFor(
      'the refusal',
      async () => {
        const done = await cluster.kubectl(words, { input, mayFail: true });
        return (
          done.code !== 0 && /has the label netproxy\.io\/inject: "true" and no sidecar/.test(done.stderr)
        );
      },
      DEADLINE_MS,
    );
    // The injector leaves these alone, so that they have none anywhere.
    const windows = input.replace(
      '"containers":',
      '"nodeSelector":{"kubernetes.io/os":"windows"},"containers":',
    );
    await cluster.kubectl(words, { input: windows });
  });

  test('keeps its certificate through an upgrade and a rollback', async () => {
    const secret = async (): Promise<unknown> => {
      const words = [
        'get',
        'secret/netproxy-injector-tls',
        '--namespace',
        system,
        '--output=jsonpath={.data}',
      ];
      return JSON.parse((await cluster.kubectl(words)).stdout) as unknown;
    };
    /** Waits until exactly so many injectors are left: those that end answer for a while by what they knew. */
    const settled = async (count: number): Promise<void> => {
      const mine = '--selector=app.kubernetes.io/component=injector';
      const words = ['get', 'pods', '--namespace', system, mine, '--output=name'];
      const pods = async (): Promise<number> =>
        (await cluster.kubectl(words)).stdout.split('\n').filter((name) => name !== '').length;
      await waitFor(`${count} injectors`, async () => (await pods()) === count, DEADLINE_MS);
    };
    const before = { bundle: await trusted(), data: await secret() };
    assert.ok(before.bundle !== '');
    const wait = ['--wait', '--timeout', `${SETTLED_MS / 1000}s`];
    const changed = 'sidecar.mode=classic,injector.replicas=1,injector.logLevel=debug';
    await helm('upgrade', 'netproxy', CHART, '--reuse-values', '--set', changed, ...wait);
    await settled(1);
    assert.deepEqual({ bundle: await trusted(), data: await secret() }, before);
    // As on clusters before 1.29.
    assert.deepEqual(await inject('second'), { initContainers: [], containers: ['netproxy', 'app'] });
    assert.match((await helm('test', 'netproxy')).stdout, /Phase:\s+Succeeded/);
    await helm('rollback', 'netproxy', '1', ...wait);
    await settled(2);
    assert.deepEqual({ bundle: await trusted(), data: await secret() }, before);
    assert.deepEqual(await inject('third'), NATIVE);
  });

  test('leaves nothing after an uninstall', async () => {
    await helm('uninstall', 'netproxy', '--wait', '--timeout', `${SETTLED_MS / 1000}s`);
    const { stdout } = await cluster.kubectl(['api-resources', '--verbs=list', '--output=name']);
    const kinds = stdout
      .trim()
      .split('\n')
      .filter((kind) => !/^(events|componentstatuses)\b/.test(kind));
    const mine = ['--selector=app.kubernetes.io/instance=netproxy', '--all-namespaces', '--output=name'];
    const left = async (): Promise<string[]> => {
      const found = (await cluster.kubectl(['get', kinds.join(','), ...mine, '--ignore-not-found'])).stdout;
      const rest = await cluster.kubectl([
        'get',
        'secrets,configmaps',
        '--namespace',
        system,
        '--output=name',
      ]);
      const own = rest.stdout.split('\n').filter((name) => !name.endsWith('/kube-root-ca.crt'));
      return [...found.split('\n'), ...own].filter((name) => name !== '');
    };
    // Pods end in their own time.
    await waitFor('the end of the last object', async () => (await left()).length === 0, DEADLINE_MS).catch(
      async () => assert.deepEqual(await left(), []),
    );
  });
});
