import type { Endpoint, Family, FlowTuple, RejectReason } from './flow.ts';

/** A question that an application sent in one packet, and the two ways to answer it. */
interface Datagram {
  readonly family: Family;
  /** Its sender wants to be told when it is too big for the path; otherwise it may be cut. */
  readonly whole: boolean;
  /** The bytes after the UDP or ICMP header. */
  readonly payload: Uint8Array;
  /** Sends `payload` back, as if by the far end. It is copied. */
  answer(payload: Uint8Array): void;
  /**
   * ICMP. `refused`, which is the default for UDP, is port unreachable: the application's next call fails
   * with ECONNREFUSED. The default for an echo request is `host-unreachable`.
   */
  refuse(reason?: RejectReason): void;
  /** ICMP: larger than `mtu`, in bytes of an IP packet, which is what the path takes. */
  tooBig(mtu: number): void;
}

export interface UdpDatagram extends Datagram {
  readonly protocol: 'udp';
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

/** An ICMP or ICMPv6 echo request: a ping. */
export interface EchoRequest extends Datagram {
  readonly protocol: 'echo';
  /** Of the socket that pings. */
  readonly identifier: number;
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
  /** As `Datagram.refuse`, of the datagram that came last. */
  refuse(reason?: RejectReason): void;
  /** As `Datagram.tooBig`. */
  tooBig(mtu: number): void;
}

export interface Traffic {
  datagrams: number;
  bytes: number;
}

/** What carries the datagrams of flows for which a verdict chose it. */
export interface DatagramCarrier {
  /**
   * A flow begins; what follows of it goes to the answer's `accept`, in order. `upstream` is the bastion or group
   * that the verdict names, or empty.
   */
  open(flow: UdpFlow, upstream: string): DatagramReceiver;
}

export interface DatagramReceiver {
  /** The bastion that carries them now, if one does and it is known. */
  readonly bastion?: string | undefined;
  /** `datagram.payload` may be kept: it is the receiver's. */
  accept(datagram: UdpDatagram): void;
  /** The flow is over: idle for too long, or more flows than there is room for. */
  closed(): void;
}
