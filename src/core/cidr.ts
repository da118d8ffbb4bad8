import { isIP, SocketAddress } from 'node:net';
import type { Family } from './flow.ts';

/** An address with a prefix, both as given and as the network it lies in; all in canonical text. */
export interface Cidr {
  readonly family: Family;
  readonly address: string;
  readonly prefix: number;
  /** `address/prefix`. */
  readonly text: string;
  /** The same with every bit after the prefix zero. */
  readonly network: string;
}

/** Bits in an address. */
export const BITS = { 4: 32, 6: 128 } as const;

/** Reads `address` or `address/prefix`; undefined when it is neither. Zones (`%eth0`) are neither. */
export function parseCidr(text: string): Cidr | undefined {
  const [addressText = '', prefixText, ...more] = text.split('/');
  const version = addressText.includes('%') ? 0 : isIP(addressText);
  if ((version !== 4 && version !== 6) || more.length > 0) return undefined;
  if (prefixText !== undefined && !/^(0|[1-9]\d{0,2})$/.test(prefixText)) return undefined;
  const prefix = prefixText === undefined ? BITS[version] : Number(prefixText);
  if (prefix > BITS[version]) return undefined;
  const address = canonicalAddress(addressText, version);
  const host = BigInt(BITS[version] - prefix);
  const network = addressFromBits((addressBits(address, version) >> host) << host, version);
  return { family: version, address, prefix, text: `${address}/${prefix}`, network: `${network}/${prefix}` };
}

/** The one spelling of an address: RFC 5952 for IPv6, as inet_ntop(3) writes it. */
export function canonicalAddress(address: string, family: Family): string {
  return new SocketAddress({ address, family: family === 4 ? 'ipv4' : 'ipv6' }).address;
}

/** How far `address` is from the beginning of a network that it lies in; undefined when it does not. */
export function offsetIn({ family, network, prefix }: Cidr, address: string): number | undefined {
  if (address.includes(':') !== (family === 6)) return undefined;
  const [first = ''] = network.split('/');
  const offset = addressBits(address, family) - addressBits(first, family);
  return offset >= 0n && offset < 1n << BigInt(BITS[family] - prefix) ? Number(offset) : undefined;
}

/** The address so far from the beginning of a network. */
export function addressAt({ family, network }: Cidr, offset: number): string {
  const [first = ''] = network.split('/');
  return addressFromBits(addressBits(first, family) + BigInt(offset), family);
}

/** An address as a number. */
export function addressBits(address: string, family: Family): bigint {
  if (family === 4) return address.split('.').reduce((bits, byte) => (bits << 8n) | BigInt(byte), 0n);
  // inet_ntop writes the last 32 bits of mapped and compatible addresses as IPv4.
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex =
    dotted === null
      ? address
      : address.slice(0, dotted.index) +
        [1, 3].map((at) => ((Number(dotted[at]) << 8) | Number(dotted[at + 1])).toString(16)).join(':');
  const [left = '', right] = hex.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail].reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n);
}

/** The address that is this number. */
export function addressFromBits(bits: bigint, family: Family): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((bits >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  );
  return canonicalAddress(groups.join(':'), 6);
}

/** The 4 or 16 bytes of a canonical address. */
export function addressBytes(address: string, family: Family): Buffer {
  return Buffer.from(
    addressBits(address, family)
      .toString(16)
      .padStart(BITS[family] / 4, '0'),
    'hex',
  );
}
