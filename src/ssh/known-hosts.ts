import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import { blobType, fingerprint } from './fingerprint.ts';

/** Where sshd listens when known_hosts names no port. */
const SSH_PORT = 22;

export interface KnownKey {
  readonly type: string;
  readonly fingerprint: string;
  /** `file:line`. */
  readonly where: string;
}

/** What known_hosts says of a key that a server presented. */
export type HostKeyVerdict =
  | { readonly result: 'ok'; readonly where: string }
  | { readonly result: 'unknown'; readonly got: string }
  | { readonly result: 'mismatch'; readonly got: string; readonly expected: readonly KnownKey[] }
  | { readonly result: 'revoked'; readonly got: string; readonly where: string };

type Marker = 'none' | 'revoked' | 'cert-authority';

interface Entry extends KnownKey {
  readonly marker: Marker;
  readonly blob: Buffer;
  matches(name: string): boolean;
}

/** The host keys that an operator trusts: an OpenSSH known_hosts file (sshd(8)). */
export class KnownHosts {
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

  /** The types of the keys known for a host: the server is to be asked for one of these. */
  types(host: string, port: number): ReadonlySet<string> {
    return new Set(this.#keysOf(host, port).map((entry) => entry.type));
  }

  /** Judges the key that the server at `host` presented. */
  check(host: string, port: number, blob: Buffer): HostKeyVerdict {
    const got = fingerprint(blob);
    const revoked = this.#entries.find(
      (entry) =>
        entry.marker === 'revoked' &&
        entry.blob.equals(blob) &&
        (entry.matches(hostName(host, port)) || entry.matches(hostName(host, SSH_PORT))),
    );
    if (revoked !== undefined) return { result: 'revoked', got, where: revoked.where };
    const known = this.#keysOf(host, port);
    const same = known.find((entry) => entry.blob.equals(blob));
    if (same !== undefined) return { result: 'ok', where: same.where };
    if (known.length > 0) {
      const expected = known.map(({ type, fingerprint, where }) => ({ type, fingerprint, where }));
      return { result: 'mismatch', got, expected };
    }
    return { result: 'unknown', got };
  }

  /** Like OpenSSH, a host without a key for its port is looked for under its plain name. */
  #keysOf(host: string, port: number): readonly Entry[] {
    const keys = (name: string): Entry[] =>
      this.#entries.filter((entry) => entry.marker === 'none' && entry.matches(name));
    const exact = keys(hostName(host, port));
    return exact.length > 0 || port === SSH_PORT ? exact : keys(hostName(host, SSH_PORT));
  }
}

/** The name of a host in known_hosts: `host`, or `[host]:port` for a port other than 22. */
export function hostName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === SSH_PORT ? name : `[${name}]:${port}`;
}

/** The line to add to known_hosts so that `blob` is trusted. */
export function knownHostsLine(host: string, port: number, blob: Buffer): string {
  return `${hostName(host, port)} ${blobType(blob) ?? 'unknown'} ${blob.toString('base64')}`;
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

function glob(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replace(/\*+/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${source}$`, 's');
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
