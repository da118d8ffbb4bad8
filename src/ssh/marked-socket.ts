/** Hop 8 of 8 (docs/data-path.md): the socket that leaves by the uplink. Before it, transport.ts. */
import net from 'node:net';

import type { Native } from '../core/native.ts';
import type { SocketFactory } from './transport.ts';

/**
 * Sockets that carry the fwmark from their first packet on, so that the namespace's routes let them
 * out by the uplink. Node has no way to set a socket option before connect(2). Data that stays
 * unacknowledged for `userTimeoutMs`, or a window that stays shut, ends the connection (TCP_USER_TIMEOUT,
 * RFC 5482): under load that is sooner than the keepalive's verdict.
 */
export function markedSockets(native: Native, mark: number, userTimeoutMs: number): SocketFactory {
  return (to, onread) => {
    const fd = native.connectTcp(to.address, to.port, mark, userTimeoutMs);
    return new net.Socket({ fd, readable: true, writable: true, onread });
  };
}
