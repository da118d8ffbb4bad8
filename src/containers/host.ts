/** Where the engine listens, as the environment says it to every client of Docker. */
import { NetproxyError } from '../core/errors.ts';

export type EngineAddress =
  | { readonly kind: 'socket'; readonly path: string; readonly text: string }
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      /** Folder of ca.pem, cert.pem and key.pem; undefined: plain HTTP. */
      readonly certificates: string | undefined;
      readonly text: string;
    };

const SOCKET = '/var/run/docker.sock';
/** IANA: docker and docker-s. */
const PORT = 2375;
const TLS_PORT = 2376;

/** Reads DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH. Throws DOCKER_UNREACHABLE for what is neither. */
export function engineAddress(environment: Readonly<Record<string, string | undefined>>): EngineAddress {
  const text = environment['DOCKER_HOST'] ?? '';
  if (text === '') return { kind: 'socket', path: SOCKET, text: `unix://${SOCKET}` };
  const [, scheme, rest = ''] = /^(\w+):\/\/(.*)$/s.exec(text) ?? [];
  if (scheme === 'unix' && rest.startsWith('/')) return { kind: 'socket', path: rest, text };
  const url = scheme === 'tcp' || scheme === 'http' ? parsed(`http://${rest}`) : undefined;
  if (url === undefined || url.hostname === '' || url.pathname !== '/' || url.search !== '') {
    throw new NetproxyError(
      'DOCKER_UNREACHABLE',
      `DOCKER_HOST: found ${JSON.stringify(text)}; allowed: unix:///PATH or tcp://HOST:PORT`,
      scheme === 'ssh'
        ? { hint: 'Run netproxy on the machine of the engine: it needs the namespaces of its containers.' }
        : {},
    );
  }
  const verify = (environment['DOCKER_TLS_VERIFY'] ?? '') !== '';
  return {
    kind: 'tcp',
    // Brackets belong to the URL, not to the address.
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (verify ? TLS_PORT : PORT) : Number(url.port),
    certificates: verify
      ? (environment['DOCKER_CERT_PATH'] ?? `${environment['HOME'] ?? ''}/.docker`)
      : undefined,
    text,
  };
}

function parsed(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
