import type { Endpoint, Family, FlowTuple } from './flow.ts';

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

/** A UDP conversation of the application: all datagrams of one tuple, until none has come for a while. */
export interface UdpFlow {
  readonly tuple: FlowTuple;
  /** Datagrams and bytes from the application, and to it. */
  readonly sent: Traffic;
  readonly received: Traffic;
  /** Sends a datagram to the application, as if by the far end. It is copied. */
  send(payload: Uint8Array): void;
  /** ICMP port unreachable: the application's next call fails with ECONNREFUSED. */
  refuse(): void;
}

export interface Traffic {
  datagrams: number;
  bytes: number;
}

/** What carries the datagrams of flows for which a verdict chose it. */
export interface DatagramCarrier {
  /** A flow begins; what follows of it goes to the answer's `accept`, in order. */
  open(flow: UdpFlow): DatagramReceiver;
}

export interface DatagramReceiver {
  /** `datagram.payload` may be kept: it is the receiver's. */
  accept(datagram: UdpDatagram): void;
  /** The flow is over: idle for too long, or more flows than there is room for. */
  closed(): void;
}
