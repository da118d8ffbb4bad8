/**
 * node test/kubernetes/lab.ts
 * Starts a cluster of one node, with a bastion's and a target's namespace beside it, prints one line of JSON
 * (`LabRecord`) when it is ready, and ends it when its input ends or on a signal. Who started it ends it, or dies.
 */
import { randomBytes } from 'node:crypto';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { IMAGES, prepared, takeLock } from '../lab/engine.ts';
import { createLab, LAB, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { dnsmasq, SAYS } from '../netns/dns-world.ts';
import { PORTS } from '../netns/ports.ts';
import { makeCertificates, writeKubeconfig } from './certificates.ts';
import {
  API_PORT,
  forgetPods,
  launchApi,
  launchContainerd,
  launchEtcd,
  launchRest,
  NETWORKS,
  NODE_NAME,
  SOCKET,
} from './control-plane.ts';
import type { Programs } from './control-plane.ts';
import { ClusterNode } from './node.ts';
import { Kubectl } from './kubectl.ts';
import type { LabRecord } from './kubectl.ts';

const checkout = resolve(import.meta.dirname, '../..');
const record = join(checkout, 'node_modules/.cache/netproxy/kubernetes.json');
const targetServer = resolve(import.meta.dirname, '../netns/target.ts');
/** Clusters that may run at once on a machine, each with images of its own. */
const SLOTS = 4;
const START_DEADLINE_MS = 300_000;
const LOAD_DEADLINE_MS = 240_000;
/** What pods call the images. */
const TAGS: Readonly<Record<string, string>> = {
  'docker.io/library/netproxy:latest': 'docker.io/local/netproxy:test',
  [`docker.io/library/${IMAGES.node}`]: 'docker.io/local/node:test',
};

class ClusterLab {
  readonly lab: Lab;
  readonly folder: string;
  readonly #at: Programs;
  readonly #children: ChildProcess[] = [];
  #lock: ChildProcess | undefined;
  #node: ClusterNode | undefined;

  constructor(lab: Lab) {
    this.lab = lab;
    this.folder = mkdtempSync(join(tmpdir(), 'netproxy-cluster-'));
    if (!existsSync(record))
      throw new Error('run first: node .ci/with-runtime.mjs --root .ci/kubernetes.mjs');
    this.#at = JSON.parse(readFileSync(record, 'utf8')) as Programs;
  }

  async start(): Promise<LabRecord> {
    const slot = await this.#takeSlot();
    const node = new ClusterNode(this.lab.app, this.folder, `netproxy-cluster-${slot}`);
    this.#node = node;
    await this.#startNetwork();
    await node.start();
    const data = join(this.#at.folder, `images-${slot}`);
    await this.#loadImages(node, data);
    launchContainerd(node, this.#at, data, true);
    launchEtcd(node, this.#at);
    const names = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'localhost'];
    const files = await makeCertificates(this.folder, names, [LAB.app.v4, NETWORKS.api, '127.0.0.1']);
    const token = randomBytes(16).toString('hex');
    const kubeconfig = join(this.folder, 'kubeconfig');
    writeKubeconfig(kubeconfig, `https://${LAB.app.v4}:${API_PORT}`, files.authority, token);
    launchApi(node, this.#at, files, token);
    const told: LabRecord = {
      kubeconfig,
      folder: this.folder,
      definitions: this.#at.definitions,
      certManager: this.#at.certManager,
      first: node.first,
      node: this.lab.app.name,
      bastion: this.lab.bastion.name,
      target: this.lab.target.name,
    };
    const api = new Kubectl(kubeconfig, this.lab.app);
    const holds = async (...words: string[]): Promise<boolean> =>
      (await api.run(words, { mayFail: true })).code === 0;
    await node.until('the API server', START_DEADLINE_MS, () => holds('get', '--raw', '/readyz'));
    launchRest(node, this.#at, files, kubeconfig, LAB.bastion.v4);
    await this.#startDns(api);
    const ready = ['wait', '--for=condition=Ready', '--timeout=1s'];
    await node.until('the node', START_DEADLINE_MS, () => holds(...ready, `node/${NODE_NAME}`));
    const available = ['wait', '--for=condition=Available', '--timeout=1s', '--namespace=kube-system'];
    await node.until('the DNS', START_DEADLINE_MS, () => holds(...available, 'deployment/coredns'));
    const account = ['get', 'serviceaccount', 'default'];
    await node.until('the first account', START_DEADLINE_MS, () => holds(...account));
    return told;
  }

  /** What the programs said last, for an error at the start. */
  tails(): string {
    const names = ['containerd', 'etcd', 'kube-apiserver', 'kube-controller-manager', 'kubelet'];
    return names.map((name) => `--- ${name}\n${this.#node?.tail(name) ?? ''}`).join('\n');
  }

  async stop(): Promise<void> {
    await this.#node?.stop();
    for (const child of this.#children) child.kill();
    await this.lab.cleanup();
    rmSync(etcOf(this.lab), { recursive: true, force: true });
    rmSync(this.folder, { recursive: true, force: true });
    this.#lock?.kill();
  }

  async #takeSlot(): Promise<number> {
    for (let slot = 0; slot < SLOTS; slot++) {
      this.#lock = await takeLock(join(this.#at.folder, `${slot}.lock`));
      if (this.#lock !== undefined) return slot;
    }
    throw new Error(`${SLOTS} clusters run already`);
  }

  /** What a site has besides the cluster: its resolver, and beyond the bastion a target and another resolver. */
  async #startNetwork(): Promise<void> {
    const { app, bastion, target } = this.lab;
    await app.run(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    // What pods of one node say to each other by a Service passes kube-proxy's rules in both directions.
    await app.run(['sh', '-c', 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables']);
    await bastion.ip(`route add ${NETWORKS.pods} via ${LAB.app.v4}`);
    mkdirSync(etcOf(this.lab), { recursive: true });
    writeFileSync(join(etcOf(this.lab), 'resolv.conf'), `nameserver ${LAB.target.v4}\n`);
    this.#children.push(
      target.spawn([process.execPath, targetServer], { stdio: 'ignore' }),
      await dnsmasq(target, [LAB.target.v4], `--address=/#/${SAYS.far}`),
      await dnsmasq(bastion, [LAB.bastion.v4], `--address=/#/${SAYS.near}`),
    );
    await waitForPort(target, PORTS.echo);
  }

  /** Gives containerd the images of this state of the sources, unless it has them, and takes old pods away. */
  async #loadImages(node: ClusterNode, data: string): Promise<void> {
    const { id, tar } = prepared();
    forgetPods(data);
    launchContainerd(node, this.#at, data, false);
    const ctr = async (words: readonly string[], timeoutMs = START_DEADLINE_MS): Promise<string[]> => {
      const argv = node.command(['ctr', '--address', SOCKET, '--namespace', 'k8s.io', ...words]);
      return (await this.lab.app.run(argv, { timeoutMs })).stdout.split('\n').filter(Boolean);
    };
    const answers = node.command(['ctr', '--address', SOCKET, 'version']);
    await node.until(
      'containerd',
      START_DEADLINE_MS,
      async () => (await this.lab.app.run(answers, { mayFail: true })).code === 0,
    );
    const left = await ctr(['containers', 'list', '--quiet']);
    if (left.length > 0) await ctr(['containers', 'delete', ...left]);
    const mark = join(data, 'netproxy-loaded');
    if (!existsSync(mark) || readFileSync(mark, 'utf8') !== id) {
      rmSync(mark, { force: true });
      await ctr(['images', 'import', tar], LOAD_DEADLINE_MS);
      for (const [from, to] of Object.entries(TAGS)) await ctr(['images', 'tag', '--force', from, to]);
      writeFileSync(mark, id);
    }
    await node.end('containerd');
  }

  async #startDns(api: Kubectl): Promise<void> {
    const values: Readonly<Record<string, string>> = {
      PROGRAM: join(this.#at.programs, 'coredns'),
      IMAGE: 'docker.io/local/node:test',
      ADDRESS: NETWORKS.dns,
      UPSTREAM: LAB.bastion.v4,
    };
    const text = readFileSync(join(import.meta.dirname, 'dns.yaml'), 'utf8');
    // The comment at its top has the names as well.
    const manifest = text.replaceAll(/@(\w+)@/g, (_, name: string) => values[name] ?? '');
    await api.run(['apply', '--filename=-'], { input: manifest });
  }
}

/** What `ip netns exec` puts over the machine's /etc for the bastion. */
function etcOf(lab: Lab): string {
  return `/etc/netns/${lab.bastion.name}`;
}

// A terminal's Ctrl-C reaches us as well as who started us; our input ends when that one is done with the cluster.
const over = new Promise<void>((end) => {
  process.stdin.on('close', end).resume();
  process.on('SIGTERM', end).on('SIGHUP', end);
  process.on('SIGINT', process.stdin.isTTY ? end : () => {});
});
const cluster = new ClusterLab(await createLab());
try {
  const told = await Promise.race([cluster.start(), over]);
  if (told !== undefined) process.stdout.write(`${JSON.stringify(told)}\n`);
  await over;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${cluster.tails()}\n`);
  process.exitCode = 1;
} finally {
  await cluster.stop();
}
process.exit();
