/** A bastion for pods, and pods with netproxy as a native sidecar, as the chart makes it. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { parse, parseAllDocuments } from 'yaml';

import { capture, LAB, waitFor } from '../lab/namespaces.ts';
import type { Capture } from '../lab/namespaces.ts';
import { LeakOracle } from '../lab/oracle.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { DEADLINE_MS, IMAGES } from './cluster.ts';
import type { ClusterSite, TestNamespace } from './cluster.ts';
import { NETWORKS } from './control-plane.ts';

/** The chart. */
const CHART = resolve(import.meta.dirname, '../../charts/netproxy');
/** The application of the tests with containers. */
const application = resolve(import.meta.dirname, '../engine/app.ts');
/** Where the containers have it. */
const APP = '/app/app.ts';
/** The port of app.ts. */
export const APP_PORT = 8080;

/** What app.ts says. */
export interface Said {
  readonly code?: string;
  readonly echo?: string;
  readonly addresses?: readonly string[];
  readonly status?: number;
  readonly text?: string;
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state: {
    readonly running?: { readonly startedAt: string };
    readonly terminated?: { readonly exitCode: number };
    readonly waiting?: { readonly reason: string };
  };
}

/** The part of a pod that tests look at. */
export interface PodObject {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly phase: string;
    readonly podIP: string;
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

type Container = Readonly<Record<string, unknown>>;

interface ConfigMap {
  readonly kind: string;
  readonly data: Readonly<Record<string, string>>;
}

/** The chart's name of the volume with the device. */
const TUN_VOLUME = 'netproxy-tun';
const SECRET = 'netproxy';
/** What `app` mounts. */
export const APP_VOLUME = { name: 'app', configMap: { name: 'app' } };

/** A real sshd between the node and the target. */
export async function startBastion(site: ClusterSite, port: number): Promise<Sshd> {
  return await startSshd({
    netns: site.bastion.name,
    address: LAB.bastion.v4,
    port,
    etc: true,
    config: ['Subsystem sftp internal-sftp'],
  });
}

/** What the chart makes of a profile for the injector: what a pod gets. */
interface Fragment {
  readonly container: Container;
  readonly volumes: readonly (Container & { readonly name: string })[];
}

export interface PodOptions {
  readonly containers?: readonly Container[];
  /** After the sidecar. */
  readonly init?: readonly Container[];
  /** The node's device that the sidecar gets, in place of /dev/net/tun; null for none. */
  readonly device?: string | null;
  /** Over what the pod has. */
  readonly spec?: Container;
}

export interface ProfileOptions {
  /** The bastion's own client key by default. */
  readonly keyFile?: string;
  /** Of the chart, over those of tests. */
  readonly values?: Container;
}

/** A bastion's profile in a namespace, and pods of it. */
export class Profile {
  readonly #fragment: Fragment;

  private constructor(fragment: Fragment) {
    this.#fragment = fragment;
  }

  /** Has the chart make the profile, and applies it with its key and the application's program. */
  static async apply(place: TestNamespace, sshd: Sshd, options: ProfileOptions = {}): Promise<Profile> {
    const { keyFile = sshd.clientKeyFile } = options;
    const values = { ...chartValues(place.name, sshd), ...options.values };
    const words = ['template', 'web', CHART, '--namespace', place.name, '--values', '-'];
    const { stdout } = await place.cluster.helm(words, { input: JSON.stringify(values) });
    const maps = parseAllDocuments(stdout)
      .map((document) => document.toJS() as ConfigMap | null)
      .filter((one): one is ConfigMap => one?.kind === 'ConfigMap');
    const fragment = maps.find(({ data }) => data['default.yaml'] !== undefined);
    const configuration = maps.find(({ data }) => data['netproxy.yaml'] !== undefined);
    if (fragment === undefined || configuration === undefined) throw new Error(`the chart says:\n${stdout}`);
    const program = { 'app.ts': readFileSync(application, 'utf8') };
    const app = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'app' }, data: program };
    await place.apply(configuration, secret(keyFile), app);
    return new Profile(parse(fragment.data['default.yaml']!) as Fragment);
  }

  /** `spec` of a pod with the sidecar. */
  podSpec({ containers, init = [], device, spec }: PodOptions = {}): object {
    const { container, volumes } = this.#fragment;
    const mounts = container['volumeMounts'] as readonly { name: string }[];
    const without = { ...container, volumeMounts: mounts.filter(({ name }) => name !== TUN_VOLUME) };
    const others = volumes.filter(({ name }) => name !== TUN_VOLUME);
    const tun = { name: TUN_VOLUME, hostPath: { path: device, type: 'CharDevice' } };
    const given = device === undefined ? volumes : [...others, ...(device === null ? [] : [tun])];
    return {
      terminationGracePeriodSeconds: 2,
      automountServiceAccountToken: false,
      initContainers: [device === null ? without : container, ...init],
      containers: containers ?? [app()],
      volumes: [...given, APP_VOLUME],
      ...spec,
    };
  }

  pod(name: string, options: PodOptions = {}): object {
    return podObject(name, this.podSpec(options));
  }
}

/** Values of the chart for a profile of this bastion. */
function chartValues(namespace: string, sshd: Sshd): object {
  const { address: host, port, user } = sshd;
  const [image, tag] = IMAGES.netproxy.split(':');
  return {
    image: { repository: image, tag, pullPolicy: 'Never' },
    cluster: { cidrs: [NETWORKS.services, NETWORKS.pods] },
    profiles: {
      default: {
        namespaces: [namespace],
        bastions: [{ name: 'main', host, port, user }],
        existingSecret: SECRET,
        knownHosts: readFileSync(sshd.knownHostsFile, 'utf8'),
      },
    },
  };
}

/** The Secret with the key to log in with. */
export function secret(keyFile: string): object {
  const stringData = { key: readFileSync(keyFile, 'utf8') };
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name: SECRET }, stringData };
}

/** A pod as an object, with a label of its name. */
export function podObject(name: string, spec: object): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } }, spec };
}

/** A container of the application, with words of app.ts; it serves by default. As nobody, and without rights. */
export function app(name = 'app', words: readonly string[] = [], over: Container = {}): Container {
  return {
    name,
    image: IMAGES.node,
    imagePullPolicy: 'Never',
    command: ['node', APP, ...words],
    volumeMounts: [{ name: 'app', mountPath: '/app', readOnly: true }],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 1000,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    },
    ...over,
  };
}

/** Runs app.ts in a pod, and gives what it says. */
export async function ask(place: TestNamespace, name: string, ...words: string[]): Promise<Said> {
  const { stdout, stderr } = await place.exec(name, 'app', ['node', APP, ...words], { mayFail: true });
  if (stdout === '') throw new Error(`the application said nothing: ${stderr}`);
  return JSON.parse(stdout) as Said;
}

/** The same for somebody who asks again: nothing where it could not be run, as the kubelet may be late. */
export function asked(place: TestNamespace, name: string, ...words: string[]): Promise<Said> {
  return ask(place, name, ...words).catch((): Said => ({}));
}

/** Waits until a pod reaches the echo server of the target. */
export async function reaches(place: TestNamespace, name: string, port: number): Promise<void> {
  await waitFor(
    `the target, from ${name}`,
    async () => (await asked(place, name, 'echo', LAB.target.v4, String(port))).echo === 'hello',
    DEADLINE_MS,
  );
}

/** The state of a pod's sidecar. */
export async function sidecarOf(place: TestNamespace, name: string): Promise<ContainerStatus> {
  const { status } = await place.get<PodObject>(`pod/${name}`);
  const found = status.initContainerStatuses?.find((container) => container.name === 'netproxy');
  if (found === undefined) throw new Error(`${name} has no sidecar`);
  return found;
}

/** Looks at everything that a pod sends, on the node's bridge. */
export async function watchPod(
  site: ClusterSite,
  place: TestNamespace,
  name: string,
  sshd: Sshd,
): Promise<LeakOracle> {
  const folder = '/sys/class/net/eth0';
  const { stdout } = await place.exec(name, 'app', ['cat', `${folder}/iflink`, `${folder}/address`]);
  const [peer, address] = stdout.trim().split('\n');
  const devices = await site.node.ipJson<{ ifindex: number; ifname: string }[]>('link');
  const device = devices.find(({ ifindex }) => String(ifindex) === peer)?.ifname;
  if (device === undefined) throw new Error(`no device of the node is that of ${name}`);
  return await LeakOracle.start({
    namespace: site.node,
    device,
    link: site.bridge,
    inside: [address!],
    bastion: { address: sshd.address, port: sshd.port },
    local: [NETWORKS.pods, NETWORKS.services],
  });
}

/** Packets of pods that leave the node and are not for this bastion, all pods of the cluster taken together. */
export async function watchUplink(site: ClusterSite, sshds: readonly Sshd[]): Promise<Capture> {
  const allowed = sshds.map(({ address, port }) => `(tcp and dst host ${address} and dst port ${port})`);
  // The cluster's DNS asks the site's.
  const asks = `(dst host ${LAB.bastion.v4} and dst port 53)`;
  return await capture(
    site.node,
    'eth0',
    `src net ${NETWORKS.pods} and not (${[...allowed, asks].join(' or ')})`,
  );
}

/** Of what a capture of the uplink saw, the packets of a namespace's pods; other files have pods of their own. */
export async function leftBy(
  place: TestNamespace,
  uplink: Capture,
  except: readonly string[] = [],
): Promise<string[]> {
  const { stdout } = await place.kubectl(['get', 'pods', '--output=json']);
  const pods = (JSON.parse(stdout) as { items: readonly PodObject[] }).items;
  const looked = pods.filter(({ metadata }) => !except.includes(metadata.name));
  if (looked.length === 0) throw new Error(`there are no pods in ${place.name}`);
  const addresses = looked.map(({ status }) => `IP ${status.podIP}.`);
  return uplink.lines.filter((line) => addresses.some((address) => line.includes(address)));
}
