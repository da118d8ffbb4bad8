/** What makes a server the right one: known_hosts, pinned keys, and a file of first contacts, together. */
import type { WantedHostKeys } from './algorithms.ts';
import type { FirstContact } from './first-contact.ts';
import type { Pins } from './pins.ts';
import type { KnownHosts } from './known-hosts.ts';

export interface KnownKey {
  /** Unknown of a fingerprint alone. */
  readonly type: string | undefined;
  readonly fingerprint: string;
  /** `file:line`, or the place of a pin. */
  readonly where: string;
}

/** What is said of a key that a server presented. `got` is its fingerprint; of a certificate, the key's. */
export type HostKeyVerdict =
  | { readonly result: 'ok'; readonly where: string }
  /** Nothing is known of the host, and it is to be remembered once it has proved to have the key. */
  | { readonly result: 'first' }
  | { readonly result: 'unknown'; readonly got: string }
  | { readonly result: 'mismatch'; readonly got: string; readonly expected: readonly KnownKey[] }
  | {
      readonly result: 'certificate';
      readonly got: string;
      readonly why: string;
      /** The authority, if one is known. */
      readonly where: string | undefined;
    }
  | { readonly result: 'revoked'; readonly got: string; readonly where: string };

export interface HostTrust {
  /** The keys that the server is to be asked for. */
  wanted(host: string, port: number): WantedHostKeys;
  /** Judges the key or certificate that the server at `host` presented. Throws a NetproxyError. */
  check(host: string, port: number, blob: Buffer): HostKeyVerdict;
  /**
   * The server has proved to have the key, of which the verdict was `first`. Throws a NetproxyError when
   * that cannot be remembered.
   */
  remember?(host: string, port: number, blob: Buffer): void;
}

/** Several sources: a key that any of them knows is accepted, unless one of them revokes it. */
export class JoinedTrust implements HostTrust {
  readonly #sources: readonly (KnownHosts | Pins)[];
  readonly #contacts: FirstContact | undefined;

  constructor(sources: readonly (KnownHosts | Pins)[], contacts: FirstContact | undefined) {
    this.#sources = sources;
    this.#contacts = contacts;
  }

  wanted(host: string, port: number): WantedHostKeys {
    const all = [...this.#sources, ...(this.#contacts === undefined ? [] : [this.#contacts])];
    const wanted = all.map((source) => source.wanted(host, port));
    return {
      types: new Set(wanted.flatMap(({ types }) => [...types])),
      certificates: wanted.some(({ certificates }) => certificates),
    };
  }

  check(host: string, port: number, blob: Buffer): HostKeyVerdict {
    const verdicts = this.#sources.map((source) => source.check(host, port, blob));
    const of = <R extends HostKeyVerdict['result']>(
      result: R,
    ): (HostKeyVerdict & { result: R }) | undefined =>
      verdicts.find((verdict): verdict is HostKeyVerdict & { result: R } => verdict.result === result);
    const clear = of('revoked') ?? of('ok') ?? of('certificate');
    if (clear !== undefined) return clear;
    const mismatch = of('mismatch');
    if (mismatch !== undefined) {
      const expected = verdicts.flatMap((each) => (each.result === 'mismatch' ? each.expected : []));
      return { ...mismatch, expected };
    }
    // First contacts count only where nothing else is known of the host.
    return this.#contacts?.check(host, port, blob) ?? of('unknown')!;
  }

  remember(host: string, port: number, blob: Buffer): void {
    this.#contacts?.remember(host, port, blob);
  }
}
