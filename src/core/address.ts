/** Text of addresses that come as bytes, and the few questions that are asked of them. */
import { isIP } from 'node:net';

import type { Endpoint, Family } from './flow.ts';

/** Dotted decimal of the four bytes at `at`. */
export function formatIpv4(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/**
 * RFC 5952 text of the sixteen bytes at `at`: lower case, no leading zeros, the longest run of two or
 * more zero groups (the first of equals) as `::`.
 */
export function formatIpv6(bytes: Uint8Array, at: number): string {
  let zeroStart = -1;
  let zeroLength = 1;
  const groups: number[] = [];
  for (let i = 0, run = 0; i < 8; i++) {
    const group = ((bytes[at + 2 * i] ?? 0) << 8) | (bytes[at + 2 * i + 1] ?? 0);
    groups.push(group);
    run = group === 0 ? run + 1 : 0;
    if (run > zeroLength) {
      zeroLength = run;
      zeroStart = i - run + 1;
    }
  }
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (zeroStart < 0) return hex(groups);
  return `${hex(groups.slice(0, zeroStart))}::${hex(groups.slice(zeroStart + zeroLength))}`;
}

export function familyOf(address: string): Family | undefined {
  const family = isIP(address);
  return family === 4 || family === 6 ? family : undefined;
}

/** `192.0.2.1:443` or `[2001:db8::1]:443`. */
export function formatEndpoint(endpoint: Endpoint): string {
  const { address, port } = endpoint;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
