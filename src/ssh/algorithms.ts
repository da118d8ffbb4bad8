/** What we offer in a key exchange, best first. */
import { readFileSync } from 'node:fs';
import {
  CERTIFICATE_HOST_KEYS,
  CIPHERS,
  KEY_EXCHANGES,
  MACS,
  PLAIN_HOST_KEYS,
  USUAL_ALGORITHMS,
} from '../core/algorithms.ts';
import type { Algorithms } from '../core/algorithms.ts';

/** What makes a host key the right one, as far as it decides which keys the server is asked for. */
export interface WantedHostKeys {
  /** Types of the keys that are known. */
  readonly types: ReadonlySet<string>;
  /** An authority is known that may have signed the key. */
  readonly certificates: boolean;
}

/** The lists of a KEXINIT. */
export interface Offer {
  readonly ciphers: readonly string[];
  readonly macs: readonly string[];
  readonly kex: readonly string[];
  readonly hostKeys: readonly string[];
}

/** What is offered to a server: what was chosen, and the usual where nothing was. */
export function offer(chosen: Algorithms = USUAL_ALGORITHMS, wanted: WantedHostKeys): Offer {
  const or = <T>(list: readonly T[], usual: readonly T[]): readonly T[] => (list.length > 0 ? list : usual);
  return {
    ciphers: or(chosen.ciphers, usualCiphers()),
    macs: or(chosen.macs, MACS),
    kex: or(chosen.kex, KEY_EXCHANGES),
    hostKeys: or<string>(chosen.hostKeys, hostKeyAlgorithms(wanted)),
  };
}

/**
 * Host key algorithms, those of the types that are known first, as OpenSSH orders them: a server with
 * several keys is then asked for one that we can check. Certificates are asked for only where an
 * authority is known; a server that has none then shows its plain key.
 */
export function hostKeyAlgorithms({ types, certificates }: WantedHostKeys): readonly string[] {
  const known = (algorithm: string): boolean =>
    types.has(algorithm.startsWith('rsa-sha2-') ? 'ssh-rsa' : algorithm);
  return [
    ...(certificates ? CERTIFICATE_HOST_KEYS : []),
    ...PLAIN_HOST_KEYS.filter(known),
    ...PLAIN_HOST_KEYS.filter((algorithm) => !known(algorithm)),
  ];
}

/** Without instructions for AES chacha20-poly1305 is several times as fast, and free of timing channels. */
export function usualCiphers(aes: boolean = hasAes()): readonly string[] {
  if (aes) return CIPHERS;
  const chacha = CIPHERS.filter((name) => name.startsWith('chacha20-'));
  return [...chacha, ...CIPHERS.filter((name) => !name.startsWith('chacha20-'))];
}

let aesFound: boolean | undefined;

/** Whether the processor has instructions for AES, as the kernel tells. */
function hasAes(): boolean {
  aesFound ??= readAes('/proc/cpuinfo');
  return aesFound;
}

/** `flags` on x86, `Features` on Arm (proc_cpuinfo(5)). A file that says nothing is no reason to doubt. */
export function readAes(file: string): boolean {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    return true;
  }
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1];
  return flags === undefined || flags.split(/\s+/).includes('aes');
}
