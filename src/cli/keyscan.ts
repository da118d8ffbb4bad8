import { isIP } from 'node:net';
import { BadValue, SSH_PORT, host as hostKind, port as portKind } from '../config/kind.ts';
import { setting } from '../config/settings.ts';
import { quote, readValue } from '../config/value.ts';
import type { Environment } from '../config/environment.ts';
import { ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { KEYSCAN_AT_ONCE } from '../core/limits.ts';
import type { Arguments } from './arguments.ts';
import type { Commands, ScannedKey } from './commands.ts';

interface Target {
  readonly host: string;
  readonly port: number;
}

interface Scanned extends Target {
  readonly keys: readonly ScannedKey[];
}

export interface KeyscanInput {
  readonly targets: readonly Target[];
  /** Milliseconds that each connection may take. */
  readonly timeoutMs: number;
}

const WARNING =
  'This is what answered, and proves nothing of who did: whoever is on the way can show keys of his own. ' +
  'Compare each fingerprint with what "ssh-keygen -lf /etc/ssh/ssh_host_TYPE_key.pub" prints on the server ' +
  'itself before you trust it.';

/** Reads the operands, and the only setting that counts here. Throws one ProblemsError. */
export function keyscanInput({ operands, flags, problems }: Arguments, env: Environment): KeyscanInput {
  const found: Problem[] = [...problems];
  const targets = operands.flatMap((operand) => readTarget(operand, found) ?? []);
  const row = setting('handshakeTimeout');
  const variable = row.env === undefined ? undefined : env[row.env];
  const given =
    flags.get('handshakeTimeout')?.[0] ??
    (variable === undefined || variable === '' ? undefined : { text: variable, where: row.env! });
  const timeoutMs = given === undefined ? row.kind.parse(row.default!) : readValue(row, given, found);
  if (found.length > 0 || timeoutMs === undefined) throw new ProblemsError(found);
  return { targets, timeoutMs };
}

/** `HOST`, `HOST:PORT`, `[HOST]:PORT`, or an IPv6 address alone. */
function readTarget(operand: string, problems: Problem[]): Target | undefined {
  try {
    if (isIP(operand) === 6) return { host: operand, port: SSH_PORT };
    const parts = /^(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/s.exec(operand);
    if (parts === null) throw new BadValue('host and port cannot be told apart');
    const [, bracketed, plain, port] = parts;
    return {
      host: hostKind.parse(bracketed ?? plain ?? ''),
      port: port === undefined ? SSH_PORT : portKind.parse(port),
    };
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    problems.push({
      code: 'USAGE_INVALID',
      where: quote(operand),
      message: `${error.message}; allowed: HOST, HOST:PORT or [HOST]:PORT`,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
    return undefined;
  }
}

/** `netproxy keyscan`: prints what the servers show, then fails for those that did not answer. */
export async function keyscan(
  { targets, timeoutMs }: KeyscanInput,
  commands: Commands,
  io: { readonly json: boolean; print(text: string): void },
): Promise<void> {
  const scanned: (Scanned | undefined)[] = targets.map(() => undefined);
  const problems: (Problem | undefined)[] = [];
  const waiting = [...targets.entries()];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, { host, port }] = next;
      try {
        scanned[index] = { host, port, keys: await commands.keyscan(host, port, timeoutMs) };
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        problems[index] = { code: 'KEYSCAN_FAILED', where: nameOf({ host, port }), message };
      }
    }
  };
  await Promise.all(Array.from({ length: KEYSCAN_AT_ONCE }, work));
  const found = scanned.filter((each) => each !== undefined);
  if (io.json)
    io.print(`${JSON.stringify({ warning: WARNING, bastions: found.map(asJson) }, undefined, 2)}\n`);
  else if (found.length > 0) io.print(asYaml(found));
  const failed = problems.filter((each) => each !== undefined);
  if (failed.length > 0) throw new ProblemsError(failed);
}

function nameOf({ host, port }: Target): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

function asJson({ host, port, keys }: Scanned): object {
  return { host, port, hostKeys: keys.map(({ key }) => key), keys };
}

/** A part of a configuration file, the rest of which is comments. */
function asYaml(scanned: readonly Scanned[]): string {
  const comment = (text: string): string[] =>
    text.match(/.{1,96}(?: |$)/g)!.map((line) => `# ${line.trimEnd()}`);
  const lines = [...comment(WARNING), 'bastions:'];
  for (const { host, port, keys } of scanned) {
    lines.push(`  - host: ${JSON.stringify(host)}`, `    port: ${port}`, '    hostKeys:');
    for (const { key, fingerprint } of keys) lines.push(`      # ${fingerprint}`, `      - ${key}`);
  }
  lines.push('', '# The same as lines of a known_hosts file:');
  for (const { keys } of scanned) lines.push(...keys.map(({ knownHosts }) => `# ${knownHosts}`));
  return `${lines.join('\n')}\n`;
}
