import { SocketAddress } from 'node:net';
import type { Socket } from 'node:net';
import { familyOf } from './address.ts';
import type { Endpoint, FlowTuple } from './flow.ts';

/**
 * The sockets that netproxy itself has open to the outside. What they send leaves by the uplink; a flow on the
 * TUN with the ends of one of them means that it did not.
 */
export class OwnSockets {
  readonly #open = new Map<string, number>();

  /** Notes a socket; gives the function that forgets it, which may be called again. */
  add(protocol: FlowTuple['protocol'], source: Endpoint, destination: Endpoint): () => void {
    const key = keyOf(protocol, source.port, destination);
    this.#open.set(key, (this.#open.get(key) ?? 0) + 1);
    let noted = true;
    return () => {
      if (!noted) return;
      noted = false;
      const left = (this.#open.get(key) ?? 1) - 1;
      if (left === 0) this.#open.delete(key);
      else this.#open.set(key, left);
    };
  }

  /** Notes a TCP socket that connects, until it is closed. To be called in the turn that made it. */
  watch(socket: Socket, destination: Endpoint): void {
    const source = { address: socket.localAddress ?? '', port: socket.localPort ?? 0 };
    socket.once('close', this.add('tcp', source, destination));
  }

  /** Whether the flow is one of these sockets. Its address may have been changed on the way, its port not. */
  has({ protocol, source, destination }: FlowTuple): boolean {
    return this.#open.size > 0 && this.#open.has(keyOf(protocol, source.port, destination));
  }
}

function keyOf(protocol: string, port: number, { address, port: to }: Endpoint): string {
  // One text for each address, however it was written.
  const text = familyOf(address) === 6 ? new SocketAddress({ address, family: 'ipv6' }).address : address;
  return `${protocol} ${port} ${text} ${to}`;
}
