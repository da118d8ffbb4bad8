import { Secret } from '../core/secret.ts';
import type { Config } from './config.ts';

/** What each part of the credentials was read from. */
const FILES: Readonly<Record<string, string>> = {
  identities: 'identityFile',
  passphrases: 'identityPassphraseFile',
  certificates: 'certificateFile',
  agentSocket: 'agent',
  password: 'passwordFile',
  answers: 'keyboardInteractiveFile',
  knownHosts: 'knownHostsFile',
  pins: 'hostKeys',
};

/**
 * The settings that differ, by path such as `tun.mtu` or `bastions[0].identityFile`; for a file also
 * when what it holds differs. Never a value.
 */
export function changes(before: Config, after: Config): readonly string[] {
  const found = new Set<string>();
  compare(before, after, '', found);
  return [...found];
}

function compare(before: unknown, after: unknown, path: string, found: Set<string>): void {
  const [a, b] = [bare(before), bare(after)];
  if (Object.is(a, b)) return;
  if (Buffer.isBuffer(a) && Buffer.isBuffer(b)) {
    if (!a.equals(b)) found.add(named(path));
  } else if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) {
    for (const [index, item] of a.entries()) compare(item, b[index], `${path}[${index}]`, found);
  } else if (isRecord(a) && isRecord(b)) {
    // Where a value stands makes no difference.
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)].filter((each) => each !== 'where')))
      compare(a[key], b[key], path === '' ? key : `${path}.${key}`, found);
  } else {
    found.add(named(path));
  }
}

const bare = (value: unknown): unknown => (value instanceof Secret ? value.reveal() : value);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
}

/** The setting that a path stands for. */
function named(path: string): string {
  if (/^rules\b/.test(path)) return 'rules';
  if (path === 'control.token') return 'control.tokenFile';
  const [, bastion, part] = /^(bastions\[\d+\])\.credentials\.(\w+)/.exec(path) ?? [];
  if (bastion !== undefined && part !== undefined) return `${bastion}.${FILES[part] ?? part}`;
  return /^bastions\[\d+\]$/.test(path) ? path : path.replace(/\[\d+\]$/, '');
}
