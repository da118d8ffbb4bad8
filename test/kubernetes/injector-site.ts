/** Injectors as processes on the node of the lab, beside the API server, with what the chart gives them but for its pods. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { objects } from '../chart/helm.ts';
import type { KubernetesObject } from '../chart/helm.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import type { Watching } from './injector-watch.ts';

const root = resolve(import.meta.dirname, '../..');
export const MAIN = join(root, 'dist/main.js');
export const CHART = join(root, 'charts/netproxy');

/** Where replicas listen on the node; the first is the one that the API server asks. */
export const PORTS: readonly { readonly webhook: number; readonly status: number }[] = [
  { webhook: 28_443, status: 28_080 },
  { webhook: 28_444, status: 28_081 },
];

/** What is for replicas in pods, or holds for the pods of all. */
const LEFT_OUT = new Set([
  ...['Deployment', 'PodDisruptionBudget', 'Service', 'ConfigMap', 'NetworkPolicy'],
  ...['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'],
]);

/** The image that pods of tests have. */
export const imageValues = {
  image: { repository: 'docker.io/local/netproxy', tag: 'test', pullPolicy: 'Never' },
};

export const VALUES = {
  ...imageValues,
  profiles: {
    default: {
      bastions: [{ name: 'main', host: '192.0.2.1', user: 'deploy' }],
      existingSecret: 'bastion-key',
      knownHosts:
        '192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEGXV7BSqxLVVsoc6BeDoxZQWLiEYDmfsLMcCwYE5ryT\n',
    },
  },
};

export interface Replica {
  readonly child: ChildProcess;
  /** Lines of its log. */
  readonly lines: readonly { readonly msg: string; readonly [key: string]: unknown }[];
  readonly exited: Promise<readonly unknown[]>;
  /** Resolves with its line on stdout. */
  readonly ready: Promise<string>;
}

export class InjectorSite {
  readonly cluster: Cluster;
  /** Of the injector's objects, and of the pods. */
  readonly own: TestNamespace;
  readonly apps: TestNamespace;
  /** Of the webhook configuration, and of the Secret. */
  readonly webhook: string;
  readonly secret: string;
  readonly #folder: string;
  readonly #replicas: Replica[] = [];

  private constructor(cluster: Cluster, own: TestNamespace, apps: TestNamespace) {
    this.cluster = cluster;
    this.own = own;
    this.apps = apps;
    this.webhook = `${own.name}-netproxy`;
    this.secret = `${own.name}-netproxy-injector-tls`;
    this.#folder = mkdtempSync(join(tmpdir(), 'netproxy-injectors-'));
  }

  static async open(cluster: Cluster): Promise<InjectorSite> {
    const site = new InjectorSite(cluster, await cluster.namespace(), await cluster.namespace());
    await site.#install();
    return site;
  }

  /** Renders the chart and applies it; the webhook is on the node, and asked about the pods of this test alone. */
  async #install(): Promise<void> {
    const { own, apps } = this;
    const { stdout } = await this.cluster.helm(
      ['template', own.name, CHART, '--namespace', own.name, '--values', '-'],
      { input: JSON.stringify(VALUES) },
    );
    const rendered = objects(stdout).filter(
      ({ metadata }) => metadata.annotations?.['helm.sh/hook'] === undefined,
    );
    const profiles = rendered.find(
      ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.endsWith('-profiles'),
    );
    mkdirSync(join(this.#folder, 'profiles'));
    for (const [name, text] of Object.entries(profiles?.data ?? {}))
      writeFileSync(join(this.#folder, 'profiles', name), text);
    const applied = rendered.filter(({ kind }) => !LEFT_OUT.has(kind)).map((object) => this.#onNode(object));
    await own.apply(...applied);
    // Without a controller manager nobody else makes one.
    await apps.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'app' } });
    await this.#account();
  }

  #onNode(object: KubernetesObject): object {
    if (object.kind !== 'MutatingWebhookConfiguration') return object;
    const [webhook] = object['webhooks'] as readonly Record<string, unknown>[];
    const matchLabels = { 'kubernetes.io/metadata.name': this.apps.name };
    const clientConfig = { url: `https://127.0.0.1:${PORTS[0]!.webhook}/inject` };
    return { ...object, webhooks: [{ ...webhook, clientConfig, namespaceSelector: { matchLabels } }] };
  }

  /** The folder that a pod of the service account would have. */
  async #account(): Promise<void> {
    const folder = join(this.#folder, 'account');
    mkdirSync(folder);
    const { stdout: accounts } = await this.own.kubectl(['get', 'serviceaccounts', '--output=name']);
    const account = accounts.split('\n').find((name) => name.endsWith('-injector')) ?? '';
    const { stdout: token } = await this.own.kubectl(['create', 'token', account.replace(/^.*\//, '')]);
    writeFileSync(join(folder, 'token'), token);
    writeFileSync(join(folder, 'ca.crt'), (await apiAccess(this.cluster)).authority);
    writeFileSync(join(folder, 'namespace'), this.own.name);
  }

  /** Starts one of the replicas. */
  async start(index: number): Promise<Replica> {
    const { webhook, status } = PORTS[index]!;
    const { host, port } = await apiAccess(this.cluster);
    const child = this.cluster.site.node.spawn(
      [
        ...[process.execPath, MAIN, 'injector', '--log-format', 'json'],
        ...['--webhook', this.webhook, '--tls-secret', this.secret],
        ...['--profiles', join(this.#folder, 'profiles'), '--service-account', join(this.#folder, 'account')],
        ...['--listen', `127.0.0.1:${webhook}`, '--status-listen', `127.0.0.1:${status}`],
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          PATH: process.env['PATH'],
          KUBERNETES_SERVICE_HOST: host,
          KUBERNETES_SERVICE_PORT: String(port),
        },
      },
    );
    const lines: { msg: string }[] = [];
    let rest = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop()!;
      for (const part of parts)
        lines.push(part.startsWith('{') ? (JSON.parse(part) as { msg: string }) : { msg: part });
    });
    const exited = once(child, 'exit');
    const ready = Promise.race([
      once(child.stdout!, 'data').then(([chunk]) => String(chunk)),
      exited.then(([code]) => Promise.reject(new Error(`it ended with ${code}: ${JSON.stringify(lines)}`))),
    ]);
    // Awaited where it matters.
    ready.catch(() => {});
    const replica = { child, lines, exited, ready };
    this.#replicas.push(replica);
    return replica;
  }

  /** Makes pods in the namespace of pods; gives what kubectl says. */
  async create(
    pod: object,
    ...words: string[]
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    return this.apps.kubectl(['create', '--filename=-', '--output=json', ...words], {
      ...{ input: JSON.stringify(pod), mayFail: true },
    });
  }

  /** What injector-watch.ts is to do here. */
  async watching(): Promise<Watching> {
    return {
      ...(await apiAccess(this.cluster)),
      pod: pod('watched'),
      pods: `/api/v1/namespaces/${this.apps.name}/pods`,
      webhook: `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${this.webhook}`,
      ports: PORTS.map(({ webhook }) => webhook),
    };
  }

  /** Of the webhook configuration, in PEM. */
  async bundle(): Promise<string> {
    const { stdout } = await this.cluster.kubectl([
      ...['get', 'mutatingwebhookconfigurations', this.webhook],
      '--output=jsonpath={.webhooks[0].clientConfig.caBundle}',
    ]);
    return Buffer.from(stdout, 'base64').toString();
  }

  /** Of the Secret, as texts. */
  async kept(): Promise<Record<string, string>> {
    const { data = {} } = await this.own.get<{ data?: Record<string, string> }>(`secret/${this.secret}`);
    return Object.fromEntries(
      Object.entries(data).map(([name, value]) => [name, Buffer.from(value, 'base64').toString()]),
    );
  }

  async close(): Promise<void> {
    for (const { child, exited } of this.#replicas) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
    }
    await this.cluster.kubectl([
      'delete',
      'mutatingwebhookconfigurations',
      this.webhook,
      '--ignore-not-found',
    ]);
    for (const kind of ['clusterrole', 'clusterrolebinding']) {
      const selector = `app.kubernetes.io/instance=${this.own.name}`;
      await this.cluster.kubectl(['delete', kind, '--selector', selector]);
    }
    for (const place of [this.own, this.apps]) await place.remove();
    rmSync(this.#folder, { recursive: true });
  }
}

/** A pod of the namespace of pods; with the label unless `labels` says otherwise. */
export function pod(name: string, spec: object = {}, metadata: object = {}): object {
  return {
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, labels: { 'netproxy.io/inject': 'true' }, ...metadata },
    spec: {
      ...{ serviceAccountName: 'app', containers: [{ name: 'app', image: 'docker.io/local/node:test' }] },
      ...spec,
    },
  };
}

/** Where the API server is, whom to trust there, in PEM, and the token of who may do everything. */
export async function apiAccess(
  cluster: Cluster,
): Promise<Pick<Watching, 'host' | 'port' | 'authority' | 'token'>> {
  const { stdout } = await cluster.kubectl(['config', 'view', '--raw', '--flatten', '--output=json']);
  const { clusters, users } = JSON.parse(stdout) as {
    clusters: [{ cluster: { server: string; 'certificate-authority-data': string } }];
    users: [{ user: { token: string } }];
  };
  const [{ cluster: at }] = clusters;
  const { hostname, port } = new URL(at.server);
  return {
    ...{ host: hostname, port: Number(port), token: users[0].user.token },
    authority: Buffer.from(at['certificate-authority-data'], 'base64').toString(),
  };
}
