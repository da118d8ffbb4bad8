/**
 * The cluster that a test file uses: that of `KUBECONFIG`, a contributor's own, or the lab's (lab.ts). The lab is
 * started once for the whole group by .ci/test.mjs, which says so by `NETPROXY_TEST_CLUSTER`; a file that runs by itself
 * starts one and ends it.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';

import { execute, Namespace, waitFor } from '../lab/namespaces.ts';
import type { RunOptions, RunResult } from '../lab/namespaces.ts';
import { BRIDGE } from './control-plane.ts';
import { Kubectl } from './kubectl.ts';
import type { LabRecord } from './kubectl.ts';
import { commandOn } from './node.ts';

/** What pods of tests run; a contributor's cluster is to have them under these names. */
export const IMAGES = {
  netproxy: 'docker.io/local/netproxy:test',
  node: 'docker.io/local/node:test',
} as const;

/** The record of the lab that runs already. */
export const CLUSTER_VARIABLE = 'NETPROXY_TEST_CLUSTER';
const STOP_DEADLINE_MS = 30_000;
/** For what a controller, the scheduler and the kubelet do one after the other, on a machine with other work. */
export const DEADLINE_MS = 90_000;

/** What there is besides the API when the cluster is the lab's. */
export class ClusterSite {
  /** Network of the node; pods are on its bridge. */
  readonly node: Namespace;
  readonly bastion: Namespace;
  readonly target: Namespace;
  /** Bridge of the pods, in the node's network. */
  readonly bridge = BRIDGE;
  readonly #record: LabRecord;

  constructor(record: LabRecord) {
    this.#record = record;
    this.node = new Namespace(record.node);
    this.bastion = new Namespace(record.bastion);
    this.target = new Namespace(record.target);
  }

  /** Folder with a definition, in YAML, of each kind that operators of others bring with them. */
  get definitions(): string {
    return this.#record.definitions;
  }

  /** The program of cert-manager's controllers, which is started where the API server can be reached. */
  get certManager(): string {
    return this.#record.certManager;
  }

  /** Runs a command among the node's own processes and mounts. */
  onNode(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return execute(commandOn(this.#record.first, argv), options);
  }
}

/** Why a test that looks at the node, or has the bastion beside it, is left out; false in the lab. */
export function outsideLab(): string | false {
  const { KUBECONFIG = '', [CLUSTER_VARIABLE]: running } = process.env;
  return running === undefined && KUBECONFIG !== '' && "the cluster is not the lab's";
}

/** Opens the cluster; `close` it when the file is done. */
export async function openCluster(): Promise<Cluster> {
  const { KUBECONFIG = '', [CLUSTER_VARIABLE]: running } = process.env;
  if (running !== undefined) return new Cluster(JSON.parse(running) as LabRecord);
  if (KUBECONFIG !== '') return new Cluster(KUBECONFIG);
  const child = spawn(process.execPath, [join(import.meta.dirname, 'lab.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [told] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as unknown[];
  if (!(told instanceof Buffer)) throw new Error('the lab did not start');
  return new Cluster(JSON.parse(told.toString()) as LabRecord, child);
}

export class Cluster {
  readonly #kubectl: Kubectl;
  readonly #site: ClusterSite | undefined;
  /** The lab, when it is this file's own. */
  readonly #own: ChildProcess | undefined;

  constructor(at: LabRecord | string, own?: ChildProcess) {
    this.#site = typeof at === 'string' ? undefined : new ClusterSite(at);
    this.#kubectl =
      typeof at === 'string' ? new Kubectl(at) : new Kubectl(at.kubeconfig, new Namespace(at.node));
    this.#own = own;
  }

  /** Throws when the cluster is a contributor's. */
  get site(): ClusterSite {
    if (this.#site === undefined) throw new Error('only the lab has this; run without KUBECONFIG');
    return this.#site;
  }

  get kubeconfig(): string {
    return this.#kubectl.kubeconfig;
  }

  /** Runs kubectl. Throws with its output when it fails, unless `mayFail`. */
  kubectl(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.#kubectl.run(args, options);
  }

  helm(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.#kubectl.helm(args, options);
  }

  /** A new namespace, with these labels. */
  async namespace(labels: Readonly<Record<string, string>> = {}): Promise<TestNamespace> {
    const name = `np-${randomBytes(4).toString('hex')}`;
    const manifest = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
    await this.kubectl(['create', '--filename=-'], { input: JSON.stringify(manifest) });
    return new TestNamespace(this, name);
  }

  /** Ends the lab if it is this file's own. */
  async close(): Promise<void> {
    const child = this.#own;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    const ended = once(child, 'exit');
    child.stdin!.end();
    await ended;
    clearTimeout(late);
  }
}

/** A namespace of the cluster for one test. */
export class TestNamespace {
  readonly cluster: Cluster;
  readonly name: string;

  constructor(cluster: Cluster, name: string) {
    this.cluster = cluster;
    this.name = name;
  }

  kubectl(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.cluster.kubectl(['--namespace', this.name, ...args], options);
  }

  /** Applies objects, or text in YAML. */
  async apply(...manifests: readonly (string | object)[]): Promise<void> {
    const texts = manifests.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)));
    await this.kubectl(['apply', '--filename=-'], { input: texts.join('\n---\n') });
  }

  /** What the API server says of an object, such as `pod/app`. */
  async get<T>(name: string): Promise<T> {
    return JSON.parse((await this.kubectl(['get', name, '--output=json'])).stdout) as T;
  }

  /** Waits for a condition, such as `Ready` of `pod/app`; the error tells what became of the pods. */
  async until(condition: string, name: string, deadlineMs: number = DEADLINE_MS): Promise<void> {
    const words = [
      'wait',
      `--for=condition=${condition}`,
      `--timeout=${Math.ceil(deadlineMs / 1000)}s`,
      name,
    ];
    const done = await this.kubectl(words, { mayFail: true, timeoutMs: deadlineMs + 10_000 });
    if (done.code !== 0) throw new Error(`${done.stderr}\n${await this.story()}`);
  }

  /** Runs a command in a container, such as `pod/app`'s `netproxy`. */
  exec(
    pod: string,
    container: string,
    argv: readonly string[],
    options: RunOptions = {},
  ): Promise<RunResult> {
    const stdin = options.input === undefined ? [] : ['--stdin'];
    return this.kubectl(['exec', ...stdin, `--container=${container}`, pod, '--', ...argv], options);
  }

  async logs(pod: string, container: string, ...words: string[]): Promise<string> {
    return (await this.kubectl(['logs', `--container=${container}`, pod, ...words])).stdout;
  }

  /** Waits until the log of a container holds a text; gives the log. */
  async logged(pod: string, container: string, text: string | RegExp): Promise<string> {
    return await waitFor(
      `${String(text)} in the log of ${pod}`,
      async () => {
        const log = await this.logs(pod, container).catch(() => '');
        return (typeof text === 'string' ? log.includes(text) : text.test(log)) && log;
      },
      DEADLINE_MS,
    );
  }

  /** Pods, events and logs, for an error. */
  async story(): Promise<string> {
    const parts = [
      ['get', 'pods', '--output=wide'],
      ['get', 'events', '--sort-by=.lastTimestamp'],
      ['logs', '--selector=', '--all-containers', '--prefix', '--tail=20'],
    ].map((words) => this.kubectl(words, { mayFail: true }));
    return (await Promise.all(parts)).map(({ stdout }) => stdout).join('\n');
  }

  /** Begins to remove it; its pods end in their own time. */
  async remove(): Promise<void> {
    await this.cluster.kubectl(['delete', 'namespace', this.name, '--wait=false']);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }
}
