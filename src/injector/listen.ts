import type { Server } from 'node:net';
import { formatEndpoint } from '../core/address.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Endpoint } from '../core/flow.ts';

/** What listening at :: fails with where there is no IPv6. */
const NO_IPV6: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL']);

/** Listens, at 0.0.0.0 in the place of :: where there is no IPv6, and gives the port. Throws LISTEN_FAILED. */
export async function listen(server: Server, { address, port }: Endpoint): Promise<number> {
  try {
    return await bind(server, address, port);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (address === '::' && NO_IPV6.has(code)) return listen(server, { address: '0.0.0.0', port });
    throw new NetproxyError('LISTEN_FAILED', `${formatEndpoint({ address, port })}: ${message}`, {
      cause: error,
    });
  }
}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : port);
    });
  });
}

/** Ends a server: requests under way have until the deadline. */
export function end(
  server: Server & { closeIdleConnections(): void; closeAllConnections(): void },
  deadlineMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(() => server.closeAllConnections(), deadlineMs);
    server.close(() => {
      clearTimeout(late);
      resolve();
    });
    server.closeIdleConnections();
  });
}
