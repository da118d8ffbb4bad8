/** Addresses as numbers, for comparing by prefix. */

/** The bits of an address, 32 in each as a signed number: one word for IPv4, four for IPv6. */
export type Words = readonly number[];

/** The bits of an address in canonical text. */
export function addressWords(text: string): Words {
  return text.includes(':') ? words6(text) : [word4(text, 0)];
}

function word4(text: string, from: number): number {
  let word = 0;
  let byte = 0;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      word = (word << 8) | byte;
      byte = 0;
    } else {
      byte = byte * 10 + code - ZERO;
    }
  }
  return (word << 8) | byte;
}

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;

function words6(text: string): Words {
  const groups: number[] = [];
  let gap = -1;
  let group = -1;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === COLON) {
      if (group >= 0) groups.push(group);
      group = -1;
      if (text.charCodeAt(at + 1) === COLON) gap = groups.length;
    } else if (code === DOT) {
      // The last 32 bits may stand as IPv4 (inet_ntop(3)).
      const word = word4(text, text.lastIndexOf(':') + 1);
      groups.push(word >>> 16, word & 0xffff);
      group = -1;
      break;
    } else {
      group = (group < 0 ? 0 : group << 4) | (code < COLON ? code - ZERO : (code | 0x20) - 0x57);
    }
  }
  if (group >= 0) groups.push(group);
  const words = [0, 0, 0, 0];
  for (let index = 0; index < groups.length; index++) {
    const place = gap === -1 || index < gap ? index : index + 8 - groups.length;
    words[place >> 1]! |= groups[index]! << (place % 2 === 0 ? 16 : 0);
  }
  return words;
}

/** True when the first `prefix` bits of both are the same. Both are of one family. */
export function samePrefix(a: Words, b: Words, prefix: number): boolean {
  for (let index = 0, rest = prefix; rest > 0; index++, rest -= 32) {
    const mask = rest >= 32 ? 0xffffffff : ~(0xffffffff >>> rest);
    if (((a[index]! ^ b[index]!) & mask) !== 0) return false;
  }
  return true;
}

/** A network, to be looked for in. */
export interface Network {
  readonly words: Words;
  readonly prefix: number;
}

/** Of `address/prefix` in canonical text. */
export function networkOf(cidr: string): Network {
  const slash = cidr.indexOf('/');
  return { words: addressWords(cidr.slice(0, slash)), prefix: Number(cidr.slice(slash + 1)) };
}

/** True when `inner`, a network or an address, lies within `outer`. */
export function contains(outer: Network, inner: Network): boolean {
  return (
    outer.words.length === inner.words.length &&
    outer.prefix <= inner.prefix &&
    samePrefix(outer.words, inner.words, outer.prefix)
  );
}
