/** Packets out of a stream in the format of tcpdump -w (pcap-savefile(5)), as far as tests tell them apart. */
import { BlockList } from 'node:net';

export interface Packet {
  /** Ethernet address of the sender, as `ip` writes it. */
  readonly from: string;
  readonly kind: 'arp' | 'ip' | 'other';
  /** Canonical text; of ARP, who asks and who is asked for. */
  readonly source: string;
  readonly destination: string;
  /** Of IP: its protocol, behind the extension headers of IPv6. */
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Flags of TCP, or the type of ICMP; of ARP its operation. */
  readonly type: number;
  /** Of an ICMP error: the packet that it tells of, with the ports; of a neighbour message: whom it is about. */
  readonly about:
    | Pick<Packet, 'source' | 'destination' | 'protocol' | 'sourcePort' | 'destinationPort'>
    | undefined;
}

export const TCP = 6;
export const UDP = 17;
export const ICMP = { 4: 1, 6: 58 } as const;
export const SYN = 0x02;
export const ACK = 0x10;
const IGMP = 2;

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGIC = 0xa1b2c3d4;

/** Cuts the stream into records. Gives those that are whole, and the rest. */
export function records(stream: Buffer, atStart: boolean): { frames: Buffer[]; rest: Buffer } {
  let at = 0;
  if (atStart) {
    if (stream.length < FILE_HEADER_BYTES) return { frames: [], rest: stream };
    if (stream.readUInt32LE(0) !== MAGIC) throw new Error('not a capture of this machine');
    at = FILE_HEADER_BYTES;
  }
  const frames: Buffer[] = [];
  while (stream.length - at >= RECORD_HEADER_BYTES) {
    const length = stream.readUInt32LE(at + 8);
    if (stream.length - at - RECORD_HEADER_BYTES < length) break;
    frames.push(stream.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + length));
    at += RECORD_HEADER_BYTES + length;
  }
  return { frames, rest: stream.subarray(at) };
}

const hex = (bytes: Buffer): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
const four = (bytes: Buffer): string => [...bytes].join('.');
/** As `new URL` shortens it, which is RFC 5952. */
const six = (bytes: Buffer): string =>
  new URL(
    `http://[${hex(bytes)
      .replaceAll(':', '')
      .replaceAll(/(.{4})(?=.)/g, '$1:')}]`,
  ).hostname.slice(1, -1);

const NOTHING = {
  source: '',
  destination: '',
  protocol: 0,
  sourcePort: 0,
  destinationPort: 0,
  type: 0,
  about: undefined,
};

/** Reads an Ethernet frame, of which the end may be cut off. */
export function parseFrame(frame: Buffer): Packet {
  const from = hex(frame.subarray(6, 12));
  const etherType = frame.length >= 14 ? frame.readUInt16BE(12) : 0;
  const body = frame.subarray(14);
  try {
    if (etherType === 0x0806)
      return {
        ...NOTHING,
        ...{ from, kind: 'arp', type: body.readUInt16BE(6) },
        source: four(body.subarray(14, 18)),
        destination: four(body.subarray(24, 28)),
      };
    if (etherType === 0x0800 || etherType === 0x86dd) return { from, kind: 'ip', ...parseIp(body, true) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return { ...NOTHING, from, kind: 'other', type: etherType };
}

/** Hop-by-hop options, as group reports have them, and destination options. */
const EXTENSIONS: Readonly<Record<number, readonly number[]>> = { 6: [0, 60] };

type Ip = Omit<Packet, 'from' | 'kind'>;

function parseIp(body: Buffer, outer: boolean): Ip {
  const version = body.readUInt8(0) >> 4;
  let protocol = version === 4 ? body.readUInt8(9) : body.readUInt8(6);
  let at = version === 4 ? (body.readUInt8(0) & 15) * 4 : 40;
  while (EXTENSIONS[version]?.includes(protocol) === true) {
    protocol = body.readUInt8(at);
    at += 8 * (1 + body.readUInt8(at + 1));
  }
  const source = version === 4 ? four(body.subarray(12, 16)) : six(body.subarray(8, 24));
  const destination = version === 4 ? four(body.subarray(16, 20)) : six(body.subarray(24, 40));
  const rest = body.subarray(at);
  const ip = { ...NOTHING, source, destination, protocol };
  if (protocol === TCP || protocol === UDP) {
    const ports = { sourcePort: rest.readUInt16BE(0), destinationPort: rest.readUInt16BE(2) };
    return { ...ip, ...ports, type: protocol === TCP && outer ? rest.readUInt8(13) : 0 };
  }
  if (protocol === ICMP[4] && version === 4) {
    const type = rest.readUInt8(0);
    const isError = [3, 11, 12].includes(type);
    return { ...ip, type, about: isError && outer ? parseIp(rest.subarray(8), false) : undefined };
  }
  if (protocol === ICMP[6]) {
    const type = rest.readUInt8(0);
    if (type < 128) return { ...ip, type, about: outer ? parseIp(rest.subarray(8), false) : undefined };
    const isNeighbour = type === 135 || type === 136;
    return {
      ...ip,
      type,
      about: isNeighbour ? { ...NOTHING, destination: six(rest.subarray(8, 24)) } : undefined,
    };
  }
  return { ...ip, type: protocol === IGMP ? rest.readUInt8(0) : 0 };
}

/** Whether an address is in one of the networks, of either family. */
export class Networks {
  readonly #list = new BlockList();

  constructor(cidrs: readonly string[]) {
    for (const cidr of cidrs) {
      const [address = '', prefix] = cidr.split('/');
      this.#list.addSubnet(address, Number(prefix), address.includes(':') ? 'ipv6' : 'ipv4');
    }
  }

  has(address: string): boolean {
    return this.#list.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
  }
}
