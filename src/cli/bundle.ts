/** `netproxy debug bundle`: what somebody needs who is to find out what is wrong, in one archive, without secrets. */
import { writeFileSync } from 'node:fs';
import { arch, release } from 'node:os';
import { gzipSync } from 'node:zlib';
import type { HostConfig } from '../config/config.ts';
import { ask } from '../control/client.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Commands } from './commands.ts';
import type { Output } from './output.ts';
import { tar } from './tar.ts';

export interface BundleOptions {
  readonly socket: string | undefined;
  /** Undefined: a name with the time, in the working directory. `-` is standard output. */
  readonly out: string | undefined;
  readonly json: boolean;
  readonly version: string;
  /** What of the host the doctor looks at. */
  readonly host: HostConfig;
  readonly commands: Pick<Commands, 'doctor' | 'namespace'>;
  readonly stdout: Output;
}

/** What the running netproxy tells, by file. */
const ASKED: readonly (readonly [file: string, path: string])[] = [
  ['status.json', '/v1/status'],
  ['config.json', '/v1/config'],
  ['connections.json', '/v1/connections?sort=bytes'],
  ['metrics.txt', '/metrics'],
  ['log.ndjson', '/v1/logs'],
];

const OWNER_ONLY = 0o600;
const MS_PER_S = 1000;

/** Writes the archive; what cannot be had is told in its place, so that a netproxy that is down can be told of too. */
export async function bundle(options: BundleOptions, now: Date = new Date()): Promise<void> {
  const { socket, host, commands, version, json, stdout } = options;
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const { out = `netproxy-debug-${stamp}.tar.gz` } = options;
  const parts = new Map<string, string>();
  const lacking: Record<string, string> = {};
  const add = async (file: string, read: () => Promise<string>): Promise<void> => {
    try {
      parts.set(file, await read());
    } catch (error) {
      lacking[file] = (error as Error).message;
      parts.set(file, `not to be had: ${lacking[file]}\n`);
    }
  };
  const about = { version, time: now.toISOString(), node: process.version, kernel: release(), arch: arch() };
  parts.set('about.json', `${JSON.stringify(about, undefined, 2)}\n`);
  for (const [file, path] of ASKED) await add(file, async () => (await ask({ path }, socket)).text);
  const patient = { host, config: undefined, problems: [], files: [], offline: true };
  await add('doctor.json', async () => `${JSON.stringify(await commands.doctor(patient), undefined, 2)}\n`);
  for (const [file, text] of Object.entries(await commands.namespace())) parts.set(file, text);
  const files = [...parts].map(([name, text]) => ({
    name: `netproxy-debug/${name}`,
    content: Buffer.from(text),
  }));
  const archive = gzipSync(tar(files, Math.floor(now.getTime() / MS_PER_S)));
  if (out === '-') {
    stdout.write(archive);
    return;
  }
  try {
    writeFileSync(out, archive, { mode: OWNER_ONLY });
  } catch (error) {
    const cause = error as NodeJS.ErrnoException;
    throw new NetproxyError('OUTPUT_UNWRITABLE', `${out}: ${cause.code ?? cause.message}`, { cause });
  }
  const told = { file: out, parts: [...parts.keys()], lacking };
  stdout.write(json ? `${JSON.stringify(told)}\n` : text(told));
}

function text({
  file,
  parts,
  lacking,
}: {
  file: string;
  parts: string[];
  lacking: Record<string, string>;
}): string {
  const missing = Object.entries(lacking).map(([part, why]) => `  without ${part}: ${why}\n`);
  return [
    `${file}: ${parts.join(', ')}\n`,
    ...missing,
    'It has no keys, passwords or tokens; but addresses and names that applications connected to. Read it before you pass it on.\n',
  ].join('');
}
