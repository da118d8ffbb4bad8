/** What runs on the node besides pods: etcd, the programs of Kubernetes and containerd, and how each is configured. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { LAB } from '../lab/namespaces.ts';
import type { Certificates } from './certificates.ts';
import type { ClusterNode } from './node.ts';

/** What .ci/kubernetes.mjs says. */
export interface Programs {
  /** Where the programs of Kubernetes, and CoreDNS, are. */
  readonly programs: string;
  readonly etcd: string;
  /** Where the plugins of the container network are. */
  readonly plugins: string;
  /** The program of cert-manager. */
  readonly certManager: string;
  /** Where the definitions of what operators bring with them are, a file for each kind. */
  readonly definitions: string;
  readonly folder: string;
}

export const NETWORKS = {
  pods: '10.244.0.0/24',
  services: '10.96.0.0/16',
  /** The API server's Service: the first address of the range. */
  api: '10.96.0.1',
  /** The address that the documentation of Kubernetes has for its DNS. */
  dns: '10.96.0.10',
} as const;

export const API_PORT = 6443;
export const NODE_NAME = 'node1';
/** The bridge of pods. */
export const BRIDGE = 'cni0';
/** Of containerd, in the node's own /run. */
export const SOCKET = '/run/containerd/containerd.sock';
/** What a pod's namespaces belong to: the image that does the same for Docker (docker/Dockerfile, anchor). */
const PAUSE_IMAGE = 'docker.io/library/netproxy-anchor:latest';
const ETCD = 'http://127.0.0.1:2379';
const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** Starts containerd with its images in `data`; without pods for upkeep of the images. */
export function launchContainerd(node: ClusterNode, at: Programs, data: string, pods: boolean): void {
  const networks = join(node.folder, 'cni');
  mkdirSync(networks, { recursive: true });
  const network = {
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        ...{ type: 'bridge', bridge: BRIDGE, isGateway: true, ipMasq: false, hairpinMode: true },
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: NETWORKS.pods }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
  writeFileSync(join(networks, '10-pods.conflist'), JSON.stringify(network));
  const file = join(node.folder, 'containerd.toml');
  writeFileSync(
    file,
    `version = 2
root = "${data}"
state = "/run/containerd/state"
${pods ? '' : 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'}
[grpc]
  address = "${SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  # Root of a container or a sandbox may not lower the score below its own.
  restrict_oom_score_adj = true
  sandbox_image = "${PAUSE_IMAGE}"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "${at.plugins}"
  conf_dir = "${networks}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
`,
  );
  // Its shim and runc are to be of the same release.
  node.launch('containerd', ['containerd', '--config', file], { PATH: SYSTEM_PATH });
}

/** Removes what the pods of a node that was killed have left in `data`; the images stay. */
export function forgetPods(data: string): void {
  for (const left of ['io.containerd.grpc.v1.cri', 'io.containerd.runtime.v2.task'])
    rmSync(join(data, left), { recursive: true, force: true });
}

export function launchEtcd(node: ClusterNode, at: Programs): void {
  node.launch('etcd', [
    at.etcd,
    ...['--data-dir', '/var/lib/etcd', '--listen-client-urls', ETCD, '--advertise-client-urls', ETCD],
    // What is stored is gone with the node in any case.
    ...['--listen-peer-urls', 'http://127.0.0.1:2380', '--unsafe-no-fsync'],
  ]);
}

export function launchApi(node: ClusterNode, at: Programs, files: Certificates, token: string): void {
  const tokens = join(node.folder, 'tokens.csv');
  writeFileSync(tokens, `${token},admin,admin,"system:masters"\n`, { mode: 0o600 });
  launchProgram(node, at, 'kube-apiserver', {
    'etcd-servers': ETCD,
    'advertise-address': LAB.app.v4,
    'secure-port': String(API_PORT),
    'tls-cert-file': files.certificate,
    'tls-private-key-file': files.key,
    'service-cluster-ip-range': NETWORKS.services,
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-signing-key-file': files.tokenKey,
    'service-account-key-file': files.tokenPublicKey,
    'token-auth-file': tokens,
    'authorization-mode': 'RBAC',
    'allow-privileged': 'true',
    // The node's name is in no DNS.
    'kubelet-preferred-address-types': 'InternalIP',
  });
}

/** What needs the API server. */
export function launchRest(
  node: ClusterNode,
  at: Programs,
  files: Certificates,
  kubeconfig: string,
  resolver: string,
): void {
  launchProgram(node, at, 'kube-controller-manager', {
    kubeconfig,
    'root-ca-file': files.authority,
    'service-account-private-key-file': files.tokenKey,
    'leader-elect': 'false',
    'cluster-cidr': NETWORKS.pods,
    // As in most clusters: nodes get their range of pods from here, and tools find it at the node.
    'allocate-node-cidrs': 'true',
    'node-cidr-mask-size': NETWORKS.pods.split('/')[1]!,
  });
  launchProgram(node, at, 'kube-scheduler', { kubeconfig, 'leader-elect': 'false' });
  const resolvConf = join(node.folder, 'resolv.conf');
  writeFileSync(resolvConf, `nameserver ${resolver}\n`);
  const kubelet = configure(node, 'kubelet', {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${node.group}`,
    failSwapOn: false,
    failCgroupV1: false,
    containerRuntimeEndpoint: `unix://${SOCKET}`,
    resolvConf,
    clusterDNS: [NETWORKS.dns],
    clusterDomain: 'cluster.local',
    // Images are not to go when the machine's disk is full.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    // A changed Secret reaches its pods within this time.
    syncFrequency: '2s',
    kubeAPIQPS: 100,
    kubeAPIBurst: 200,
  });
  launchProgram(node, at, 'kubelet', {
    config: kubelet,
    kubeconfig,
    'cert-dir': '/var/lib/kubelet/pki',
    'hostname-override': NODE_NAME,
    'node-ip': LAB.app.v4,
  });
  const proxy = configure(node, 'kube-proxy', {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig },
    mode: 'nftables',
    clusterCIDR: NETWORKS.pods,
    hostnameOverride: NODE_NAME,
    // The size of the kernel's table can't be changed from a namespace.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  });
  launchProgram(node, at, 'kube-proxy', { config: proxy });
}

function configure(node: ClusterNode, name: string, config: object): string {
  const file = join(node.folder, `${name}.yaml`);
  // YAML has all of JSON.
  writeFileSync(file, JSON.stringify(config));
  return file;
}

function launchProgram(
  node: ClusterNode,
  at: Programs,
  name: string,
  flags: Readonly<Record<string, string>>,
): void {
  const words = Object.entries(flags).map(([key, value]) => `--${key}=${value}`);
  node.launch(name, [join(at.programs, name), ...words]);
}
