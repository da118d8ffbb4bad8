/** What certificate is served, and whether the API server trusts it: kept by the injector itself, or by others. */
import type { InjectorConfig } from '../config/injector.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { KubernetesApi } from './api.ts';
import { Authority } from './authority.ts';
import { endOf } from './certificate.ts';
import type { Generation } from './certificate.ts';
import type { Condition } from './probes.ts';
import { Registration } from './registration.ts';
import { readTlsFiles } from './tls-files.ts';

export interface Serving {
  /** Looks again, has a changed certificate used, and tells whether that failed. Throws nothing. */
  sync(use: (generation: Generation) => void): Promise<boolean>;
  conditions(): readonly Condition[];
  /** End of what is served, in milliseconds since 1970. */
  readonly notAfter: number | undefined;
  /** Certificates made by this replica. */
  readonly made: number;
}

/** Throws KUBERNETES_UNREACHABLE when a Secret is to be kept and there is no cluster. */
export async function openServing(
  { tls, webhook }: InjectorConfig,
  { api, log }: { readonly api: KubernetesApi | undefined; readonly log: Log },
): Promise<Serving> {
  if ('secret' in tls) {
    if (api === undefined) {
      throw new NetproxyError('KUBERNETES_UNREACHABLE', 'KUBERNETES_SERVICE_HOST and _PORT are not set', {
        hint: 'Run it in a pod, or give --tls-folder and --cluster-cidrs to do without the API server.',
      });
    }
    const authority = new Authority({
      ...{ api, log, namespace: await api.namespace(), secret: tls.secret, webhook: webhook! },
      ...{ now: () => Date.now(), elapsed: () => performance.now() },
    });
    return new Watched(log, { look: () => authority.sync(), made: () => authority.renewals });
  }
  const registration = api && webhook !== undefined ? new Registration(api, webhook) : undefined;
  return new Watched(log, {
    look: async () => readTlsFiles(tls.folder, Date.now()),
    check: async () => {
      if ((await registration?.read())?.bundle === '')
        throw new NetproxyError(
          'WEBHOOK_MISSING',
          `${webhook} has no caBundle: the API server trusts nobody`,
        );
    },
  });
}

interface Source {
  /** What is to be served now. Throws. */
  look(): Promise<Generation>;
  /** Throws when the API server has no use for it. */
  check?(): Promise<void>;
  made?(): number;
}

class Watched implements Serving {
  readonly #log: Log;
  readonly #source: Source;
  #served: Generation | undefined;
  #failure: { readonly code: string; readonly message: string } | undefined;

  constructor(log: Log, source: Source) {
    this.#log = log;
    this.#source = source;
  }

  get made(): number {
    return this.#source.made?.() ?? 0;
  }

  get notAfter(): number | undefined {
    return this.#served && endOf(this.#served.certificate);
  }

  async sync(use: (generation: Generation) => void): Promise<boolean> {
    try {
      const generation = await this.#source.look();
      if (generation.certificate !== this.#served?.certificate) {
        use(generation);
        this.#served = generation;
        const end = new Date(endOf(generation.certificate) ?? 0).toISOString();
        this.#log.info({ end }, 'serving a certificate');
      }
      await this.#source.check?.();
      if (this.#failure !== undefined) this.#log.info({}, 'the certificate is looked after again');
      this.#failure = undefined;
      return false;
    } catch (error) {
      const { message } = error as Error;
      const { code, hint } =
        error instanceof NetproxyError ? error : { code: 'TLS_INVALID', hint: undefined };
      if (message !== this.#failure?.message) this.#log.error({ code, hint }, message);
      this.#failure = { code, message };
      return true;
    }
  }

  conditions(): readonly Condition[] {
    const { notAfter } = this;
    const failure = this.#failure;
    const problem =
      notAfter === undefined
        ? (failure?.message ?? 'there is none yet')
        : notAfter < Date.now()
          ? 'it is over'
          : undefined;
    const unregistered = failure?.code === 'WEBHOOK_MISSING' ? failure.message : undefined;
    // What is served and trusted stays so while the API server is away.
    const remarks =
      failure === undefined || problem !== undefined || unregistered !== undefined ? [] : [failure.message];
    return [
      { name: 'certificate', problem, remarks },
      {
        name: 'webhook',
        problem: unregistered ?? (notAfter === undefined ? 'not looked at yet' : undefined),
      },
    ];
  }
}
