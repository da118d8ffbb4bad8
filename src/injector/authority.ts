/**
 * Keeps the certificate in a Secret and its authority in the webhook configuration, together with any number of
 * replicas that do the same: whoever writes names the version that was read, and who comes second reads again.
 */
import { NetproxyError } from '../core/errors.ts';
import { TLS_SETTLE_MS, TLS_WRITES_MAX } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { KubernetesApi } from './api.ts';
import { bundleOf, nextStep, readKept, writeKept } from './authority-step.ts';
import type { Kept } from './authority-step.ts';
import { makeGeneration } from './certificate.ts';
import type { Generation } from './certificate.ts';
import { objectOf } from './json.ts';
import { Registration } from './registration.ts';

export interface AuthorityInput {
  readonly api: KubernetesApi;
  readonly log: Log;
  readonly namespace: string;
  /** Names of the Secret and of the webhook configuration. */
  readonly secret: string;
  readonly webhook: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds of a clock that nobody sets. */
  readonly elapsed: () => number;
}

const CONFLICT = 409;
const NOT_FOUND = 404;

export class Authority {
  readonly #input: AuthorityInput;
  readonly #registration: Registration;
  /** Since when the authority of this next certificate has been seen to be trusted. */
  #trusted: { readonly authority: string; readonly since: number } | undefined;
  renewals = 0;

  constructor(input: AuthorityInput) {
    this.#input = input;
    this.#registration = new Registration(input.api, input.webhook);
  }

  /** Looks at both, does what is to be done, and gives what is to be served and that it is trusted. Throws. */
  async sync(): Promise<Generation> {
    // Before the Secret: what is trusted by a configuration that was read first was in the Secret by then, so that
    // an older reading of the Secret never takes a new authority away.
    const registered = await this.#registration.read();
    const kept = await this.#settle(registered.names, registered.bundle);
    const bundle = bundleOf(kept);
    if (registered.bundle !== bundle) {
      await this.#registration.trust(registered, bundle);
      this.#input.log.info(
        { webhook: this.#input.webhook },
        'the webhook configuration trusts the authority',
      );
    }
    return kept.current!;
  }

  async #settle(names: readonly string[], bundle: string): Promise<Kept> {
    for (let attempt = 0; attempt < TLS_WRITES_MAX; attempt++) {
      const { kept, version, found } = await this.#read();
      const step = nextStep(kept, {
        ...{ names, now: this.#input.now() },
        settled: this.#isSettled(kept.next, bundle),
      });
      if (step.kind === 'keep') return kept;
      const wanted =
        step.kind === 'write'
          ? step.kept
          : { ...step.kept, [step.as]: await makeGeneration(names, this.#input.now()) };
      if (!(await this.#write(wanted, found, version))) continue;
      if (step.kind === 'make') this.renewals++;
      this.#input.log.info(
        { secret: this.#input.secret, why: step.why },
        step.kind === 'make' ? `made the ${step.as} certificate` : 'changed the kept certificates',
      );
    }
    throw new NetproxyError('KUBERNETES_FAILED', `Secret ${this.#input.secret}: others keep changing it`);
  }

  #isSettled(next: Generation | undefined, bundle: string): boolean {
    if (next === undefined || !bundle.includes(next.authority)) {
      this.#trusted = undefined;
      return false;
    }
    const now = this.#input.elapsed();
    if (this.#trusted?.authority !== next.authority)
      this.#trusted = { authority: next.authority, since: now };
    return now - this.#trusted.since >= TLS_SETTLE_MS;
  }

  get #path(): string {
    return `/api/v1/namespaces/${this.#input.namespace}/secrets`;
  }

  async #read(): Promise<{ kept: Kept; version: string; found: Secret | undefined }> {
    const path = `${this.#path}/${this.#input.secret}`;
    const { status, body } = await this.#input.api.request('GET', path, { expect: [NOT_FOUND] });
    if (status === NOT_FOUND) return { kept: {}, version: '', found: undefined };
    const found = objectOf(body) as unknown as Secret;
    return { kept: readKept(found.data ?? {}), version: found.metadata.resourceVersion, found };
  }

  /** False when somebody else was first. */
  async #write(kept: Kept, found: Secret | undefined, version: string): Promise<boolean> {
    const { api, secret, namespace } = this.#input;
    const metadata = { name: secret, namespace };
    const data = writeKept(kept);
    const { status } =
      found === undefined
        ? await api.request('POST', this.#path, {
            body: { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data },
            expect: [CONFLICT],
          })
        : await api.request('PUT', `${this.#path}/${secret}`, {
            // Whole, so that labels and annotations of others stay; with the version that was read.
            body: { ...found, metadata: { ...found.metadata, resourceVersion: version }, data },
            expect: [CONFLICT, NOT_FOUND],
          });
    return status < 300;
  }
}

interface Secret {
  readonly metadata: { readonly resourceVersion: string };
  readonly data?: Readonly<Record<string, unknown>>;
}
