/** Settings of the injector, from flags and environment. */
import { ProblemsError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';
import type { LogConfig } from './config.ts';
import type { Environment } from './environment.ts';
import { SettingReader } from './reader.ts';
import type { ReaderSources } from './reader.ts';

export interface InjectorConfig {
  /** Folder of the profiles. */
  readonly profiles: string;
  /** MutatingWebhookConfiguration; always there with `tls.secret`. */
  readonly webhook: string | undefined;
  readonly tls: { readonly secret: string } | { readonly folder: string };
  /** In canonical text. */
  readonly clusterCidrs: readonly string[];
  readonly listen: Endpoint;
  readonly statusListen: Endpoint;
  /** Folder of the service account. */
  readonly serviceAccount: string;
  /** Where the API server is; undefined outside of a cluster. */
  readonly api: Endpoint | undefined;
  readonly log: Pick<LogConfig, 'level' | 'format'>;
}

/** Throws one ProblemsError with everything that is wrong. */
export function loadInjectorConfig(sources: ReaderSources): InjectorConfig {
  const reader = new SettingReader(sources);
  const of = reader.first.bind(reader);
  const [secret, folder] = [of('injector.tlsSecret', undefined), of('injector.tlsFolder', undefined)];
  const webhook = of('injector.webhook', undefined);
  const usage = (where: string, message: string, hint: string): void =>
    void reader.problems.push({ code: 'CONFIG_INVALID', where, message, hint });
  if ((secret === undefined) === (folder === undefined) && reader.wrongValues === 0) {
    const found =
      secret === undefined
        ? 'neither --tls-secret nor --tls-folder'
        : 'both of --tls-secret and --tls-folder';
    const fix =
      'Give --tls-secret NAME to have certificates made, or --tls-folder FOLDER to have those of cert-manager served.';
    usage('--tls-secret', `found ${found}; allowed: one of the two`, fix);
  }
  if (secret !== undefined && webhook === undefined && reader.wrongValues === 0)
    usage(
      '--webhook',
      'is missing; --tls-secret needs it, for certificates that nobody trusts are of no use',
      'Give --webhook NAME, the name of the MutatingWebhookConfiguration.',
    );
  const read = {
    profiles: of('injector.profiles', undefined),
    listen: of('injector.listen', undefined),
    statusListen: of('injector.statusListen', undefined),
    serviceAccount: of('injector.serviceAccount', undefined),
    level: of('log.level', undefined),
    format: of('log.format', undefined),
  };
  const cidrs = reader.placed('injector.clusterCidrs', new Map(), 'injector.clusterCidrs');
  if (reader.problems.length > 0) throw new ProblemsError(reader.problems);
  return {
    ...{ webhook, clusterCidrs: cidrs.flatMap(({ value }) => value) },
    tls: folder === undefined ? { secret: secret! } : { folder },
    ...{ profiles: read.profiles!, serviceAccount: read.serviceAccount! },
    ...{ listen: read.listen!, statusListen: read.statusListen! },
    api: apiServer(sources.environment),
    log: { level: read.level!, format: read.format! },
  };
}

/** As every pod is told. */
function apiServer(environment: Environment): Endpoint | undefined {
  const { KUBERNETES_SERVICE_HOST: address = '', KUBERNETES_SERVICE_PORT: port = '' } = environment;
  return address === '' || !/^\d{1,5}$/.test(port) ? undefined : { address, port: Number(port) };
}
