/** The webhook configuration: what names the API server asks us by, and whom it trusts. */
import { NetproxyError } from '../core/errors.ts';
import type { KubernetesApi } from './api.ts';
import { listOf, member, textOf } from './json.ts';
import type { Json } from './json.ts';
import { WEBHOOK } from './names.ts';

export interface Registered {
  /** Host names or addresses that the certificate has to be for. */
  readonly names: readonly string[];
  /** PEM of the authorities; empty when none is trusted. */
  readonly bundle: string;
  readonly version: string;
  /** Place of our webhook among those of the configuration. */
  readonly index: number;
  /** Whether it has a bundle, be it empty. */
  readonly bundled: boolean;
}

const CONFLICT = 409;
/** What the API server says of a JSON patch whose "test" fails. */
const UNPROCESSABLE = 422;
const NOT_FOUND = 404;

export class Registration {
  readonly #api: KubernetesApi;
  readonly #name: string;

  constructor(api: KubernetesApi, name: string) {
    this.#api = api;
    this.#name = name;
  }

  get #path(): string {
    return `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${this.#name}`;
  }

  /** Throws WEBHOOK_MISSING, or what the API server has to say. */
  async read(): Promise<Registered> {
    const { status, body } = await this.#api.request('GET', this.#path, { expect: [NOT_FOUND] });
    if (status === NOT_FOUND)
      throw new NetproxyError('WEBHOOK_MISSING', `there is no MutatingWebhookConfiguration ${this.#name}`);
    const webhooks = listOf(member(body, 'webhooks')) ?? [];
    const index = webhooks.findIndex((each) => member(each, 'name') === WEBHOOK);
    if (index === -1) throw new NetproxyError('WEBHOOK_MISSING', `${this.#name} has no webhook ${WEBHOOK}`);
    const client = member(webhooks[index], 'clientConfig');
    const bundle = textOf(member(client, 'caBundle'));
    return {
      ...{ index, names: this.#names(client), bundled: bundle !== undefined },
      bundle: Buffer.from(bundle ?? '', 'base64').toString('utf8'),
      version: textOf(member(member(body, 'metadata'), 'resourceVersion')) ?? '',
    };
  }

  /** Has the API server trust these authorities. Throws KUBERNETES_FAILED when the configuration was changed since it was read. */
  async trust({ index, version, bundled }: Registered, bundle: string): Promise<void> {
    const { status } = await this.#api.request('PATCH', this.#path, {
      type: 'application/json-patch+json',
      body: [
        { op: 'test', path: '/metadata/resourceVersion', value: version },
        { op: 'test', path: `/webhooks/${index}/name`, value: WEBHOOK },
        {
          op: bundled ? 'replace' : 'add',
          path: `/webhooks/${index}/clientConfig/caBundle`,
          value: Buffer.from(bundle).toString('base64'),
        },
      ],
      expect: [CONFLICT, UNPROCESSABLE],
    });
    if (status >= 300)
      throw new NetproxyError('KUBERNETES_FAILED', `${this.#name} was changed by somebody else meanwhile`);
  }

  #names(client: Json | undefined): readonly string[] {
    const service = member(client, 'service');
    const [name, namespace] = [textOf(member(service, 'name')), textOf(member(service, 'namespace'))];
    if (name !== undefined && namespace !== undefined) return [`${name}.${namespace}.svc`];
    const url = textOf(member(client, 'url'));
    if (url !== undefined && URL.canParse(url)) return [new URL(url).hostname.replace(/^\[(.*)\]$/, '$1')];
    throw new NetproxyError('WEBHOOK_MISSING', `${this.#name}: ${WEBHOOK} has neither a service nor a URL`);
  }
}
