/** Operators of others: kinds of objects of cert-manager and of the operator of Prometheus, and cert-manager itself. */
import { once } from 'node:events';

import type { KubernetesObject } from '../chart/helm.ts';
import { waitFor } from '../lab/namespaces.ts';
import { DEADLINE_MS } from './cluster.ts';
import type { Cluster } from './cluster.ts';

const GROUPS = ['cert-manager.io', 'monitoring.coreos.com'] as const;

/** Of what an operator says. */
const TAIL_CHARACTERS = 5_000;

export function isForeign({ apiVersion }: KubernetesObject): boolean {
  return GROUPS.some((group) => String(apiVersion).startsWith(`${group}/`));
}

/** Objects, wherever they were meant for, in one namespace, as text for kubectl. */
export function within(namespace: string, all: readonly KubernetesObject[]): string {
  return all
    .map((object) => {
      const { namespace: own, ...metadata } = object.metadata;
      return JSON.stringify({
        ...object,
        metadata: own === undefined ? metadata : { ...metadata, namespace },
      });
    })
    .join('\n---\n');
}

/** Has the API server know these kinds, until `forgetKinds`. They are there for everybody who uses the cluster. */
export async function defineKinds(cluster: Cluster): Promise<void> {
  const files = `--filename=${cluster.site.definitions}`;
  // The annotation of an apply by the client has no room for the largest.
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', files]);
  await cluster.kubectl(['wait', '--for=condition=Established', `--timeout=${DEADLINE_MS / 1000}s`, files]);
  // Clients learn of them a moment later.
  for (const group of GROUPS)
    await waitFor(
      `the kinds of ${group}`,
      async () =>
        (await cluster.kubectl(['api-resources', `--api-group=${group}`, '--output=name'], { mayFail: true }))
          .stdout,
      DEADLINE_MS,
    );
}

/** Removes these kinds with all objects of them. */
export async function forgetKinds(cluster: Cluster): Promise<void> {
  await cluster.kubectl(['delete', '--ignore-not-found', `--filename=${cluster.site.definitions}`]);
}

export interface Operator {
  /** What it said last, for an error. */
  tail(): string;
  stop(): Promise<void>;
}

/** Starts cert-manager's controllers on the node; `namespace` is the one that it would be installed in. */
export function startCertManager(cluster: Cluster, namespace: string): Operator {
  const { site, kubeconfig } = cluster;
  const env = { PATH: process.env['PATH'], KUBECONFIG: kubeconfig, POD_NAMESPACE: namespace };
  const child = site.node.spawn([site.certManager], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-TAIL_CHARACTERS)));
  const exited = once(child, 'exit');
  return {
    tail: () => said,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill();
      await exited;
    },
  };
}
