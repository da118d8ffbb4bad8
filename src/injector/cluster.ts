/** Networks of the cluster that pods have to reach directly: those given, and those that the API server knows of. */
import { NetproxyError } from '../core/errors.ts';
import { NETWORKS_MAX } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { KubernetesApi } from './api.ts';
import { listOf, member } from './json.ts';
import type { Json } from './json.ts';
import { joinNetworks, networksOf } from './networks.ts';

/** ServiceCIDR objects: of Kubernetes 1.33, and of 1.31 where the beta is served. */
const SERVICE_PATHS = [
  '/apis/networking.k8s.io/v1/servicecidrs',
  '/apis/networking.k8s.io/v1beta1/servicecidrs',
] as const;
const NODES_PATH = '/api/v1/nodes';

const GIVE = 'give the networks of Services and pods by --cluster-cidrs (cluster.cidrs of the chart)';

export class ClusterNetworks {
  readonly #api: KubernetesApi | undefined;
  readonly #given: readonly string[];
  readonly #log: Log;
  #networks: readonly string[] | undefined;
  #problem: string | undefined = 'the API server has not answered yet';
  readonly #told = new Set<string>();

  /** Without an API server there is only what is given. */
  constructor(given: readonly string[], api: KubernetesApi | undefined, log: Log) {
    this.#given = given;
    this.#api = api;
    this.#log = log;
    if (given.length > 0) this.#take([]);
  }

  /** Undefined while they are not known. */
  get networks(): readonly string[] | undefined {
    return this.#networks;
  }

  /** Why they are not known. */
  get problem(): string | undefined {
    return this.#networks === undefined ? this.#problem : undefined;
  }

  /** Asks again; what was known stays known when that fails. Throws nothing. */
  async refresh(): Promise<void> {
    try {
      const services = (await this.#list(...SERVICE_PATHS)).flatMap(
        (item) => listOf(member(member(item, 'spec'), 'cidrs')) ?? [],
      );
      const nodes = await this.#list(NODES_PATH);
      const pods = nodes.flatMap((item) => listOf(member(member(item, 'spec'), 'podCIDRs')) ?? []);
      if (services.length === 0 && this.#given.length === 0)
        throw new NetproxyError('KUBERNETES_FAILED', `the networks of Services are not to be found: ${GIVE}`);
      if (pods.length === 0 && this.#given.length === 0)
        this.#warn(`nodes have no podCIDRs, and pods would reach each other by the bastion: ${GIVE}`);
      this.#take([...services, ...pods]);
    } catch (error) {
      this.#problem = (error as Error).message;
      this.#warn(this.#problem);
    }
  }

  #take(found: readonly unknown[]): void {
    const networks = joinNetworks(networksOf([...this.#given, ...found]));
    if (networks.length > NETWORKS_MAX) {
      this.#problem = `found ${networks.length} networks, and ${NETWORKS_MAX} are the most: ${GIVE}`;
      this.#warn(this.#problem);
      return;
    }
    if (this.#networks?.join() !== networks.join())
      this.#log.info({ networks }, 'networks of the cluster, which stay direct');
    this.#networks = networks;
  }

  /** The objects of the first of these resources that there is; none when it may not be read. */
  async #list(...paths: readonly string[]): Promise<readonly Json[]> {
    for (const path of this.#api === undefined ? [] : paths) {
      try {
        const items = await this.#api!.list(path);
        if (items !== undefined) return items;
      } catch (error) {
        if (!(error instanceof NetproxyError) || error.code !== 'KUBERNETES_REFUSED') throw error;
        this.#warn(error.message);
      }
    }
    return [];
  }

  /** Each thing once: it is asked every minute. */
  #warn(message: string): void {
    if (this.#told.has(message)) return;
    if (this.#told.size >= NETWORKS_MAX) this.#told.clear();
    this.#told.add(message);
    this.#log.warn({}, message);
  }
}
