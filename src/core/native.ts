/**
 * The native addon as JavaScript sees it: its whole surface, and the loader.
 * `native/addon.cc` is the other side and checks its arguments again.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { NetproxyError } from './errors.ts';
import type { Family } from './flow.ts';

/** A TUN device of our own. It vanishes when `fd` is closed. */
export interface TunDevice {
  readonly fd: number;
  readonly name: string;
  /** The kernel hands over TCP packets of up to 64 KiB (TSO). Without it a large MTU is wanted. */
  readonly segmentation: boolean;
}

/** The native datapath. A flow number that is no longer in use is ignored by every call. */
export interface NativeEngine {
  /** Memory that `take` refers to; shared with the engine thread. */
  readonly memory: ArrayBuffer;
  /** Event records (layout: native/engine/events.h); filled by `poll`. */
  readonly events: ArrayBuffer;
  /** Copies waiting events to `events`; returns how many. Fewer than fit means that none is left. */
  poll(): number;
  accept(flow: number): void;
  /** `reason`: 0 refused, 1 network, 2 host unreachable, 3 prohibited. */
  reject(flow: number, reason: number): void;
  /** Forgets a flow that was not answered; nothing is sent. */
  drop(flow: number): void;
  abort(flow: number): void;
  /** Copies the bytes; returns the bytes queued afterwards, 0 when the flow is gone. */
  write(flow: number, chunk: Uint8Array): number;
  end(flow: number): void;
  /** Offset in `memory` times 2^17 plus length; length 0 when nothing waits. */
  take(flow: number, max: number): number;
  /** Bytes that were passed on; true when the application's half is closed and nothing waits. */
  taken(flow: number, length: number): boolean;
  ended(flow: number): boolean;
  /**
   * Sends what `write`, `end` and `taken` have left owed: to be called at the end of a turn that called
   * any of the others. True when those calls made events: `poll` is due.
   */
  settle(): boolean;
  /** Datagram records (layout: native/engine/datagrams.h); filled by `datagrams`. */
  readonly datagramMemory: ArrayBuffer;
  /** Moves waiting datagrams to `datagramMemory`; returns how many. 0 means that none is left. */
  datagrams(): number;
  /** Answers the datagram whose record began with `header`; the payload is copied. */
  answer(header: Uint8Array, payload: Uint8Array): void;
  /** ICMP: `reason` 0 port, 1 network, 2 host unreachable, 3 prohibited, 4 too big, with the MTU of the path. */
  refuse(header: Uint8Array, reason: number, mtu?: number): void;
  counters(): Readonly<Record<string, number>>;
  /** Ends the thread and closes the TUN. */
  close(): void;
}

/** Protection of what is sent, by AES-GCM or chacha20-poly1305 (native/ssh/sealer.h). */
export interface PacketSealer {
  /** Protects a packet that is laid out already, in place: length field, body, room for the tag. */
  seal(packet: Uint8Array): boolean;
  /** Number of the next packet. */
  readonly sequence: number;
}

/** Protection of what is received (native/ssh/opener.h). */
export interface PacketOpener {
  /**
   * Of the last `open`: status (0 more data is needed, 1 a payload, 2 bad length, 3 bad tag), where the
   * payload is (0 in `data`, 1 carried over), its offset and length.
   */
  readonly result: Uint32Array;
  /** Number of the next packet. */
  readonly sequence: number;
  /** The payload of the last `open` that lies outside of its `data`, copied. */
  carried(): Buffer;
  /** Opens the next packet in place; returns how far it got. */
  open(data: Uint8Array, at: number, end: number): number;
}

/**
 * An SSH connection after its handshake (native/ssh/link.h): moves the bytes of flows without JavaScript,
 * and passes all other messages through.
 */
export interface SshLink {
  /**
   * Pairs of kind and channel, filled by `poll`: 1 the flow has ended, and all was sent with its EOF, 2 drained, 3 the
   * socket is at its end, 4 damaged packets, 5 the server sent more than it was invited to.
   */
  readonly news: Uint32Array;
  /** Sent and received bytes, and 1 once an EOF was sent, filled by `readTotals`. */
  readonly totals: Float64Array;
  poll(): number;
  /**
   * Takes the server's messages, each after its length in four bytes of host order; empty when none
   * waits. Those taken before count as dealt with.
   */
  messages(): Buffer;
  /** Protects the packet in place and queues it; `flush` sends. False when it cannot be protected. */
  submit(packet: Uint8Array): boolean;
  flush(): void;
  /** New keys. Nothing is opened between a NEWKEYS and `openWith`. */
  sealWith(sealer: PacketSealer): void;
  openWith(opener: PacketOpener): void;
  /**
   * To be called before the open is submitted. When the server confirms `channel`, `flow` is accepted and joined to
   * it at once; the message still comes, and `attach` then changes nothing.
   */
  expect(channel: number, flow: number): void;
  /** No longer so. True when it was joined already and not yet attached; it is no more. */
  unexpect(channel: number): boolean;
  /** Accepts `flow`. From now on the bytes of it and of `channel`, which the server knows as `remote`, are joined. */
  attach(channel: number, flow: number, remote: number, window: number, largest: number): void;
  readTotals(channel: number): void;
  detach(channel: number): void;
  /** JavaScript gave the flow `bytes` of a message, and `queued` now wait in it. */
  took(channel: number, bytes: number, queued: number): boolean;
  /** The server invites more. False when the channel is not attached. */
  adjust(channel: number, bytes: number): boolean;
  /** The server may invite in steps longer than our limit on bytes under way: only its windows limit what is sent. */
  keepToWindows(): void;
  /**
   * A round trip to the server took so many microseconds: the shortest bounds the windows of channels. Told every
   * few seconds, since it also wakes uploads that wait for a step of the server's.
   */
  roundTrip(us: number): void;
  /** A channel of JavaScript's own sent or received something. */
  used(channel: number): void;
  /** More than one channel uses the connection now, and bytes under way are limited for it. */
  shared(): boolean;
  /** Bytes that the socket has not taken. */
  queued(): number;
  /** Bytes that the socket took, and bytes received. */
  sent(): number;
  received(): number;
  /** Asks for the news that the queue has been sent. */
  wantDrained(): void;
  close(): void;
}

/** `helper` is the channel to a helper (src/netns/helper.ts), in whose namespace it is done; undefined: in ours. */
export interface Native {
  /** Throws an Error with `code` (EPERM, ENOENT, EBUSY …) whose message names the failing step. */
  readonly openTun: (name: string, helper?: number) => TunDevice;
  /**
   * Starts a connect on a socket with SO_MARK, with 0 without; returns its fd, which fails or becomes writable
   * later.
   */
  readonly connectTcp: (
    address: string,
    port: number,
    mark: number,
    userTimeoutMs: number,
    helper?: number,
  ) => number;
  /** A UDP socket with SO_MARK and a port of its own, connected to nothing; returns its fd. */
  readonly openUdp: (family: Family, mark: number, helper?: number) => number;
  /**
   * The same, for UDP or for pings (icmp(7)), told of ICMP errors of every kind: after each, `drainErrors` is due.
   * Throws an Error with `code`, EACCES where net.ipv4.ping_group_range forbids pings.
   */
  readonly openDatagram: (kind: 'udp' | 'ping', family: Family, mark: number, helper?: number) => number;
  /** Datagrams larger than the path takes are refused with EMSGSIZE when they are `whole`, and else cut. */
  readonly keepWhole: (fd: number, whole: boolean) => void;
  /** Forgets the errors that wait; gives the MTU of the path of a connected socket in bytes, 0 when it is unknown. */
  readonly drainErrors: (fd: number) => number;
  /** Bound sockets, which do not listen yet; return the fd. */
  readonly bindTcp: (address: string, port: number, helper?: number) => number;
  readonly bindUdp: (address: string, port: number, helper?: number) => number;
  /**
   * Gives freed heap back to the kernel, and unmaps code that the start has read from files; what runs again is
   * mapped again. Returns the bytes of those mappings; 0 where /proc/self/smaps cannot be read.
   */
  readonly releaseStartMemory: () => number;
  /**
   * Leaves this thread, and what it starts, those of `capabilities` (numbers of capabilities(7)) that it has,
   * and no others. With a user the whole process becomes that user, whose other threads keep none. For good.
   * Throws EPERM, with the user unchanged, where changing it is not allowed.
   */
  readonly reducePrivileges: (
    capabilities: readonly number[],
    ...user: readonly [uid: number, gid: number, groups: readonly number[]] | readonly []
  ) => void;
  /** Has dangerous system calls fail with EPERM from now on, in all threads; returns how many (seccomp(2)). */
  readonly filterSystemCalls: () => number;
  /**
   * The socket of this namespace that sends a flow's packets (sock_diag(7)); undefined when there is none.
   * `protocol` is 6 or 17 (IANA); `device` the name of an interface that it may be bound to. `cgroup` is the
   * number of its control group, 0n where the kernel does not tell. Throws an Error with `code`.
   */
  readonly socketOwner: (
    protocol: number,
    source: string,
    sourcePort: number,
    destination: string,
    destinationPort: number,
    device: string,
    helper?: number,
  ) => { readonly uid: number; readonly inode: number; readonly cgroup: bigint } | undefined;
  /**
   * The visible process that holds the socket with this inode, 0 when none is found; those of `first` are
   * looked at before all others, and of all no more than `limit` descriptors. `forbidden`: the descriptors
   * of some process could not be seen.
   */
  readonly socketHolder: (
    inode: number,
    first: readonly number[],
    limit: number,
  ) => { readonly pid: number; readonly forbidden: boolean };
  /**
   * Calls `onChange` whenever a link, address, route, rule or table of nftables of this namespace has
   * changed, whoever did it. Gives the function that ends it. Does not keep the process alive.
   */
  readonly watchNamespace: (onChange: () => void, helper?: number) => () => void;
  /** Two non-blocking ends of one local connection (socketpair(2)), each the caller's to close. */
  readonly socketPair: (kind?: 'stream' | 'packets') => readonly [number, number];
  /**
   * The length of `key` tells the cipher: 16 or 32 bytes are AES-GCM, with 12 of `iv`; 64 are
   * chacha20-poly1305, without any. `sequence` is the number of the first packet.
   */
  readonly PacketSealer: new (key: Uint8Array, iv: Uint8Array, sequence: number) => PacketSealer;
  readonly PacketOpener: new (key: Uint8Array, iv: Uint8Array, sequence: number) => PacketOpener;
  /**
   * Uses a duplicate of `fd`. `base` is the first channel number of ours on the wire. `onNews` is called
   * when `poll` or `messages` has something.
   */
  readonly SshLink: new (
    engine: NativeEngine,
    fd: number,
    base: number,
    sealer: PacketSealer,
    opener: PacketOpener,
    onNews: () => void,
  ) => SshLink;
  readonly Engine: new (fd: number, mtu: number, onEvents: () => void) => NativeEngine;
}

/** Both a checkout (src/core or dist/core) and an image keep the addon two levels up. */
const PLACES = ['../../native/build/Release/netproxy.node', '../../native/netproxy.node'];

/** Loads the addon. Throws `NATIVE_MISSING`, naming every place that was looked at. */
export function loadNative(): Native {
  const require = createRequire(import.meta.url);
  const tried: string[] = [];
  for (const place of PLACES) {
    const path = fileURLToPath(new URL(place, import.meta.url));
    tried.push(path);
    if (!existsSync(path)) continue;
    try {
      return require(path) as Native;
    } catch (cause) {
      throw new NetproxyError('NATIVE_MISSING', `loading ${path}: ${(cause as Error).message}`, { cause });
    }
  }
  throw new NetproxyError('NATIVE_MISSING', `no native addon at ${tried.join(' or ')}`);
}
