/** What it means when the engine, or what stands before it, does not do as asked. */
import { NetproxyError } from '../core/errors.ts';

/** What dockerode rejects with: an errno of the connection, or a status of HTTP with the engine's words. */
interface Failure {
  readonly message?: string;
  readonly code?: string;
  readonly name?: string;
  readonly statusCode?: number;
  readonly json?: unknown;
}

const READ_ONLY =
  'Let this command talk to the engine itself, or let the proxy pass POST and DELETE of /containers; commands that only read go on as they are.';

const HINTS: Readonly<Record<string, string>> = {
  ENOENT:
    'Start the engine, or mount its socket: -v /var/run/docker.sock:/var/run/docker.sock; DOCKER_HOST names another.',
  ECONNREFUSED: 'Start the engine: nobody listens there.',
  EACCES: 'Run as root, or as a member of the group of the socket (mostly "docker").',
  ENOTFOUND: 'Check the name in DOCKER_HOST.',
};

/** `what` is the request, such as `POST /containers/web/start`; `where` the address of the engine. */
export function engineFailure(error: unknown, what: string, where: string): NetproxyError {
  if (error instanceof NetproxyError) return error;
  const { message = '', code, name, statusCode, json } = error as Failure;
  if (statusCode === undefined) {
    const late = name === 'TimeoutError' || name === 'AbortError';
    const why = late ? 'no answer in time' : `${code ?? ''} ${message}`.trim();
    const hint = HINTS[code ?? ''];
    return new NetproxyError('DOCKER_UNREACHABLE', `${where}: ${what}: ${why}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  const said = words(json) ?? message.trim();
  const told = `${where}: ${what}: ${statusCode} ${said}`;
  // Those of socket proxies: "forbidden", and "method not allowed".
  if (statusCode === 403 || statusCode === 405) {
    const reads = what.startsWith('GET ');
    const hint = reads
      ? 'Let the proxy before the engine pass GET of /version, /containers and /events.'
      : READ_ONLY;
    return new NetproxyError('DOCKER_REFUSED', told, { cause: error, hint });
  }
  if (statusCode === 404 && /no such container/i.test(said))
    return new NetproxyError('CONTAINER_UNKNOWN', said, { cause: error });
  return new NetproxyError('DOCKER_FAILED', told, { cause: error });
}

/** The engine says why in JSON; a proxy in whatever it likes. */
function words(json: unknown): string | undefined {
  if (typeof json === 'object' && json !== null && 'message' in json && typeof json.message === 'string')
    return json.message.trim();
  if (typeof json !== 'string' && !Buffer.isBuffer(json)) return undefined;
  const [line = ''] = String(json)
    .replaceAll(/<[^>]*>/g, ' ')
    .trim()
    .split('\n');
  return line === '' ? undefined : line.trim();
}
