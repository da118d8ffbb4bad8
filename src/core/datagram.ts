import type { Endpoint, Family } from './flow.ts';

/** A question that an application sent in one packet, and the two ways to answer it. */
interface Datagram {
  readonly family: Family;
  /** The bytes after the UDP or ICMP header. */
  readonly payload: Uint8Array;
  /** Sends `payload` back, as if by the far end. It is copied. */
  answer(payload: Uint8Array): void;
  /** ICMP: port unreachable for UDP, host unreachable for an echo request. */
  refuse(): void;
}

export interface UdpDatagram extends Datagram {
  readonly protocol: 'udp';
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

/** An ICMP or ICMPv6 echo request: a ping. */
export interface EchoRequest extends Datagram {
  readonly protocol: 'echo';
  readonly source: string;
  readonly destination: string;
}

export type AnyDatagram = UdpDatagram | EchoRequest;
