/** Hop 8 of 8 (docs/data-path.md): the socket that leaves by the uplink. Before it, transport.ts. */
import net from 'node:net';

import type { HeldAddresses } from '../core/held-addresses.ts';
import type { Native } from '../core/native.ts';
import type { OwnSockets } from '../core/own-sockets.ts';
import type { SocketFactory } from './transport.ts';

/**
 * Sockets that carry the fwmark from their first packet on, so that the namespace's routes let them
 * out by the uplink. Node has no way to set a socket option before connect(2). Data that stays
 * unacknowledged for `userTimeoutMs`, or a window that stays shut, ends the connection (TCP_USER_TIMEOUT,
 * RFC 5482): under load that is sooner than the keepalive's verdict. So does the loss of the address it
 * sends from, which the kernel does not tell, and after which nothing can come back.
 */
export function markedSockets(
  native: Native,
  mark: number,
  userTimeoutMs: number,
  addresses: HeldAddresses,
  own: OwnSockets,
): SocketFactory {
  return (to, onread) => {
    const fd = native.connectTcp(to.address, to.port, mark, userTimeoutMs);
    const socket = new net.Socket({ fd, readable: true, writable: true, onread });
    const stop = addresses.listen((held) => {
      const own = socket.localAddress;
      if (own === undefined || held.has(own)) return;
      socket.destroy(new Error(`the address ${own} of this namespace is gone`));
    });
    socket.once('close', stop);
    own.watch(socket, to);
    return socket;
  };
}
