import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import type { WantedHostKeys } from './algorithms.ts';
import { isCertificate, parseCertificate, plainKey } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { blobType, fingerprint } from './fingerprint.ts';
import { glob } from './glob.ts';
import { certificateFault } from './host-certificate.ts';
import type { HostKeyVerdict, HostTrust, KnownKey } from './host-trust.ts';

/** Where sshd listens when known_hosts names no port. */
const SSH_PORT = 22;

type Marker = 'none' | 'revoked' | 'cert-authority';

interface Entry extends KnownKey {
  readonly type: string;
  readonly marker: Marker;
  readonly blob: Buffer;
  matches(name: string): boolean;
}

/** The host keys that an operator trusts: an OpenSSH known_hosts file (sshd(8)). */
export class KnownHosts implements HostTrust {
  readonly #entries: readonly Entry[];

  private constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }

  /** Reads and parses a file. */
  static read(file: string): KnownHosts {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw new NetproxyError(
        'KNOWN_HOSTS_UNREADABLE',
        `Cannot read the known_hosts file ${file}: ${reasonOf(error)}.`,
        {
          cause: error,
        },
      );
    }
    return KnownHosts.parse(text, file);
  }

  /** All of several. */
  static of(all: readonly KnownHosts[]): KnownHosts {
    return new KnownHosts(all.flatMap((each) => each.#entries));
  }

  /** Parses the text of a file; `file` is its name in messages. All bad lines are named at once. */
  static parse(text: string, file: string): KnownHosts {
    const entries: Entry[] = [];
    const faults: string[] = [];
    for (const [index, raw] of text.split('\n').entries()) {
      const line = raw.trim();
      if (line === '' || line.startsWith('#')) continue;
      const where = `${file}:${index + 1}`;
      const entry = parseLine(line, where);
      if (typeof entry === 'string') faults.push(`${where}: ${entry}`);
      else entries.push(entry);
    }
    if (faults.length > 0) throw new NetproxyError('KNOWN_HOSTS_INVALID', faults.join('\n'));
    return new KnownHosts(entries);
  }

  wanted(host: string, port: number): WantedHostKeys {
    return {
      types: new Set(this.#of('none', host, port).map((entry) => entry.type)),
      certificates: this.#of('cert-authority', host, port).length > 0,
    };
  }

  /**
   * As OpenSSH does, a certificate that is not accepted is judged once more by its key alone, which the file
   * may have too; `now` in milliseconds since 1970.
   */
  check(host: string, port: number, blob: Buffer, now: number = Date.now()): HostKeyVerdict {
    let certificate: Certificate | undefined;
    try {
      certificate = isCertificate(blob) ? parseCertificate(blob) : undefined;
    } catch (error) {
      const why = `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      return { result: 'certificate', got: fingerprint(blob), why, where: undefined };
    }
    const key = certificate?.keyBlob ?? blob;
    const got = fingerprint(key);
    const revoked = this.#entries.find(
      (entry) =>
        entry.marker === 'revoked' &&
        (entry.blob.equals(key) || certificate?.authority.equals(entry.blob) === true) &&
        (entry.matches(hostName(host, port)) || entry.matches(hostName(host, SSH_PORT))),
    );
    if (revoked !== undefined) return { result: 'revoked', got, where: revoked.where };
    const plain = this.#checkKey(host, port, key);
    if (plain.result === 'ok') return plain;
    const authorities = this.#of('cert-authority', host, port);
    const [first] = authorities;
    if (first === undefined) return plain;
    if (certificate === undefined) {
      if (plain.result === 'mismatch') return plain;
      const why = 'there is none, and nothing but an authority is known';
      return { result: 'certificate', got, why, where: first.where };
    }
    const { authority } = certificate;
    const same = authorities.find((entry) => entry.blob.equals(authority));
    if (same === undefined) {
      const wanted = authorities.map((entry) => entry.fingerprint).join(' or ');
      const why = `it was signed by ${fingerprint(authority)}, and not by ${wanted}`;
      return { result: 'certificate', got, why, where: first.where };
    }
    const why = certificateFault(certificate, host, now);
    if (why !== undefined) return { result: 'certificate', got, why, where: same.where };
    return { result: 'ok', where: same.where };
  }

  #checkKey(host: string, port: number, key: Buffer): HostKeyVerdict {
    const got = fingerprint(key);
    const known = this.#of('none', host, port);
    const same = known.find((entry) => entry.blob.equals(key));
    if (same !== undefined) return { result: 'ok', where: same.where };
    if (known.length === 0) return { result: 'unknown', got };
    const expected = known.map(({ type, fingerprint, where }) => ({ type, fingerprint, where }));
    return { result: 'mismatch', got, expected };
  }

  /** Like OpenSSH, a host without an entry for its port is looked for under its plain name. */
  #of(marker: Marker, host: string, port: number): readonly Entry[] {
    const entries = (name: string): Entry[] =>
      this.#entries.filter((entry) => entry.marker === marker && entry.matches(name));
    const exact = entries(hostName(host, port));
    return exact.length > 0 || port === SSH_PORT ? exact : entries(hostName(host, SSH_PORT));
  }
}

/** The name of a host in known_hosts: `host`, or `[host]:port` for a port other than 22. */
export function hostName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === SSH_PORT ? name : `[${name}]:${port}`;
}

/** The line to add to known_hosts so that a key, of a certificate its key, is trusted. */
export function knownHostsLine(host: string, port: number, blob: Buffer): string {
  const key = plainKey(blob);
  return `${hostName(host, port)} ${blobType(key) ?? 'unknown'} ${key.toString('base64')}`;
}

/** An entry, or what is wrong with the line. */
function parseLine(line: string, where: string): Entry | string {
  const fields = line.split(/[ \t]+/);
  let marker: Marker = 'none';
  if (fields[0]!.startsWith('@')) {
    const word = fields.shift()!;
    if (word === '@revoked') marker = 'revoked';
    else if (word === '@cert-authority') marker = 'cert-authority';
    else return `unknown marker "${word}"; known are @revoked and @cert-authority`;
  }
  const [names, type, encoded] = fields;
  if (names === undefined || type === undefined || encoded === undefined) {
    return 'a line needs host names, a key type and a key';
  }
  const blob = Buffer.from(encoded, 'base64');
  if (blob.toString('base64').replace(/=+$/, '') !== encoded.replace(/=+$/, ''))
    return 'the key is not valid base64';
  const inner = blobType(blob);
  if (inner !== type) return `the key says it is of type "${inner ?? '?'}", the line says "${type}"`;
  const matches = names.startsWith('|') ? hashedMatcher(names) : listMatcher(names);
  if (typeof matches === 'string') return matches;
  return { marker, type, blob, fingerprint: fingerprint(blob), where, matches };
}

/** `|1|salt|HMAC-SHA1(salt, name)`, both in base64. */
function hashedMatcher(field: string): ((name: string) => boolean) | string {
  const [, magic, salt, hash, ...rest] = field.split('|');
  const key = Buffer.from(salt ?? '', 'base64');
  const expected = Buffer.from(hash ?? '', 'base64');
  if (magic !== '1' || rest.length > 0 || key.length === 0 || expected.length !== 20) {
    return 'the hashed host name is not of the form |1|salt|hash';
  }
  return (name) => timingSafeEqual(createHmac('sha1', key).update(name).digest(), expected);
}

/** Comma-separated patterns with `*` and `?`; a match of one with `!` excludes the line. */
function listMatcher(field: string): ((name: string) => boolean) | string {
  const yes: RegExp[] = [];
  const no: RegExp[] = [];
  for (const pattern of field.toLowerCase().split(',')) {
    if (pattern === '' || pattern === '!') return 'the list of host names has an empty item';
    if (pattern.startsWith('!')) no.push(glob(pattern.slice(1)));
    else yes.push(glob(pattern));
  }
  return (name) => yes.some((pattern) => pattern.test(name)) && !no.some((pattern) => pattern.test(name));
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
