/** Host keys and fingerprints that the configuration itself holds. */
import type { WantedHostKeys } from './algorithms.ts';
import { plainKey } from './certificate.ts';
import { fingerprint } from './fingerprint.ts';
import type { HostKeyVerdict, KnownKey } from './host-trust.ts';

/** One, as the configuration gives it: `TYPE BASE64`, `SHA256:…` or `TYPE SHA256:…`. */
export interface Pin {
  readonly text: string;
  /** Place in the configuration. */
  readonly where: string;
}

export class Pins {
  readonly #keys: readonly KnownKey[];

  constructor(pins: readonly Pin[]) {
    this.#keys = pins.map(({ text, where }) => {
      const [last = '', type] = text.split(' ').toReversed();
      return last.startsWith('SHA256:')
        ? { type, fingerprint: last, where }
        : { type, fingerprint: fingerprint(Buffer.from(last, 'base64')), where };
    });
  }

  wanted(): WantedHostKeys {
    return { types: new Set(this.#keys.flatMap(({ type }) => type ?? [])), certificates: false };
  }

  /** The host does not matter: a pin is for one bastion. */
  check(_host: string, _port: number, blob: Buffer): HostKeyVerdict {
    const got = fingerprint(plainKey(blob));
    const same = this.#keys.find((key) => key.fingerprint === got);
    if (same !== undefined) return { result: 'ok', where: same.where };
    return this.#keys.length === 0
      ? { result: 'unknown', got }
      : { result: 'mismatch', got, expected: this.#keys };
  }
}
