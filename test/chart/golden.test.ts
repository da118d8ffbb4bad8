/** What the chart renders to. `npm run golden` writes it anew, to be read as a difference. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { parse } from 'yaml';
import { cases, CHART, dependents, GOLDEN, helm, objects, template } from './helm.ts';

const charts = dependents();
after(() => charts.close());
const matrix = cases(charts.folder);

describe('the matrix', () => {
  for (const { name, chart, args } of matrix) {
    test(`${name} is what its golden file says`, () => {
      const file = join(GOLDEN, `${name}.yaml`);
      assert.ok(existsSync(file), `${file} is missing; run: npm run golden`);
      assert.equal(template(chart, ...args), readFileSync(file, 'utf8'), 'run: npm run golden');
    });

    test(`${name} is passed by helm lint --strict`, () => {
      const done = helm('lint', '--strict', chart, ...args);
      assert.equal(done.code, 0, done.stdout + done.stderr);
    });

    test(`${name} has no object twice, and every object the labels of the chart`, () => {
      const all = objects(template(chart, ...args));
      assert.ok(all.length > 0);
      const names = all.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
      assert.deepEqual([...new Set(names)], names);
      for (const { kind, metadata } of chart === CHART ? all : []) {
        assert.equal(metadata.labels?.['app.kubernetes.io/instance'], 'web', `${kind} ${metadata.name}`);
        assert.ok(metadata.name.length <= 63);
      }
    });
  }

  test('no golden file is left over', () => {
    const files = globSync('*.yaml', { cwd: GOLDEN }).map((file) => basename(file, '.yaml'));
    assert.deepEqual(files.sort(), matrix.map(({ name }) => name).sort());
  });
});

interface Container {
  readonly name: string;
  readonly securityContext: { readonly capabilities: { readonly add?: string[]; readonly drop: string[] } };
  readonly volumeMounts: readonly { readonly subPath?: string }[];
}

describe('the sidecar', () => {
  const fragment = (name: string): { container: Container & Record<string, unknown>; place: string } => {
    const { args } = matrix.find((each) => each.name === name)!;
    const found = objects(template(CHART, ...args)).find(({ metadata }) =>
      metadata.name.endsWith('-profiles'),
    );
    return objects(found?.data?.['default.yaml'] ?? '')[0] as unknown as ReturnType<typeof fragment>;
  };

  test('is the same for the injector and for a chart that includes it, but for what the injector finds itself', () => {
    const [deployment] = objects(template(join(charts.folder, 'example'))).filter(
      ({ kind }) => kind === 'Deployment',
    );
    const { spec } = (deployment as unknown as { spec: { template: { spec: { initContainers: object[] } } } })
      .spec.template;
    assert.equal(spec.initContainers.length, 1);
    const included = spec.initContainers[0] as { env: { name: string }[] };
    const injected = fragment('injector').container as unknown as { env: { name: string }[]; image: string };
    const without = included.env.filter(({ name }) => name !== 'NETPROXY_LOCAL');
    assert.deepEqual({ ...included, env: without }, { ...injected, image: 'netproxy:0.1.0' });
  });

  test('is native from Kubernetes 1.29 on and an ordinary container before, never both', () => {
    const version = (kube: string): { place: string; restart: unknown; postStart: unknown } => {
      const values = join(import.meta.dirname, 'cases/injector.yaml');
      const text = template(CHART, '--values', values, '--kube-version', kube);
      const map = objects(text).find(({ metadata }) => metadata.name === 'web-netproxy-profiles');
      const { container, place } = objects(map?.data?.['default.yaml'] ?? '')[0] as unknown as ReturnType<
        typeof fragment
      >;
      return { place, restart: container['restartPolicy'], postStart: container['lifecycle'] };
    };
    for (const kube of ['1.29.0', 'v1.30.1-gke.200', '1.36.3']) {
      assert.deepEqual(
        version(kube),
        { place: 'initContainers', restart: 'Always', postStart: undefined },
        kube,
      );
    }
    const postStart = { postStart: { exec: { command: ['netproxy', 'wait', '60s'] } } };
    for (const kube of ['1.28.15', 'v1.27.3-eks-a5565ad']) {
      assert.deepEqual(version(kube), { place: 'containers', restart: undefined, postStart }, kube);
    }
  });

  test('has NET_ADMIN and no other capability, unless more is asked for', () => {
    for (const name of ['injector', 'classic', 'device-plugin'])
      assert.deepEqual(fragment(name).container.securityContext.capabilities, {
        drop: ['ALL'],
        add: ['NET_ADMIN'],
      });
    const more = fragment('all').container.securityContext.capabilities.add;
    assert.deepEqual(more, ['NET_ADMIN', 'SYS_PTRACE', 'DAC_READ_SEARCH']);
  });

  test('mounts whole volumes, since what is mounted by subPath never changes', () => {
    for (const name of ['injector', 'all', 'classic'])
      for (const mount of fragment(name).container.volumeMounts) assert.equal(mount.subPath, undefined);
  });
});

describe('the webhook', () => {
  const webhook = (name: string): Record<string, unknown> => {
    const { args } = matrix.find((each) => each.name === name)!;
    const found = objects(template(CHART, ...args)).find(
      ({ kind }) => kind === 'MutatingWebhookConfiguration',
    );
    return (found as unknown as { webhooks: Record<string, unknown>[] }).webhooks[0]!;
  };

  test('refuses rather than lets out, and is asked for labelled pods alone, not for those of its own namespace', () => {
    const hook = webhook('injector');
    assert.equal(hook['failurePolicy'], 'Fail');
    assert.deepEqual(hook['objectSelector'], { matchLabels: { 'netproxy.io/inject': 'true' } });
    assert.deepEqual(hook['namespaceSelector'], {
      matchExpressions: [
        { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['kube-system', 'egress'] },
      ],
    });
  });

  test('is not installed by a chart that has this one as a dependency, unless it is asked for', () => {
    const kinds = (...args: string[]): string[] =>
      objects(template(join(charts.folder, 'example'), ...args)).map(({ kind }) => kind);
    assert.ok(!kinds().includes('MutatingWebhookConfiguration'));
    assert.ok(!kinds().includes('ClusterRole'));
    assert.ok(kinds('--set', 'netproxy.injector.enabled=true').includes('MutatingWebhookConfiguration'));
  });
});

test('the rules for alerts are those of docs/monitoring', () => {
  const set = [
    '--set',
    'metrics.prometheusRule.enabled=true,metrics.prometheusRule.labels.release=prometheus',
  ];
  const rule = objects(template(CHART, ...set)).find(({ kind }) => kind === 'PrometheusRule');
  const alerts = join(import.meta.dirname, '../../docs/monitoring/alerts.yaml');
  assert.deepEqual(rule?.['spec'], parse(readFileSync(alerts, 'utf8')));
  assert.equal(rule?.metadata.labels?.['release'], 'prometheus');
});

describe('the notes', () => {
  const notes = (...args: string[]): string => {
    const done = helm('install', 'web', CHART, '--namespace', 'egress', '--dry-run=client', ...args);
    assert.equal(done.code, 0, done.stderr);
    return done.stdout.slice(done.stdout.indexOf('NOTES:'));
  };
  const values = (name: string): string[] => ['--values', join(import.meta.dirname, `cases/${name}.yaml`)];

  test('tell the next step', () => {
    assert.match(notes(), /There is no profile yet, so that every labelled pod is refused/);
    assert.match(notes(...values('injector')), /netproxy\.io\/inject: "true"/);
    assert.match(notes(...values('injector')), /helm test web -n egress/);
    assert.doesNotMatch(notes(...values('injector')), /WARNING/);
  });

  test('warn of what is unsafe', () => {
    const risky = ['--set', 'injector.failurePolicy=Ignore,injector.replicas=1'];
    assert.match(notes(...values('injector'), ...risky), /WARNING: injector\.failurePolicy is Ignore/);
    assert.match(notes(...values('injector'), ...risky), /WARNING: injector\.replicas is 1/);
    assert.match(notes(...values('injector')), /The networks of Services and pods are not given/);
    assert.doesNotMatch(notes(...values('all')), /The networks of Services and pods are not given/);
    assert.match(notes(...values('all')), /WARNING: the private key of profiles\.default is a value/);
    assert.match(
      notes(...values('existing')),
      /WARNING: the configuration of profiles\.default is in company/,
    );
    const tofu = ['--set', 'profiles.default.bastions[0].tofu=/run/netproxy/hosts'];
    assert.match(notes(...values('injector'), ...tofu), /WARNING: .* is trusted on first use/);
    assert.match(notes(...values('injector'), '--set', 'sidecar.mode=classic'), /Jobs do not finish/);
  });
});
