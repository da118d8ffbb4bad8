import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

import { NetproxyError } from '../core/errors.ts';
import { NET_COMMAND_DEADLINE_MS, NET_COMMAND_OUTPUT_MAX_BYTES } from '../core/limits.ts';
import { netAdminMissing } from './diagnose.ts';

/** What the takeover needs of the host. Injected, so that tests can act in namespaces of their own. */
export interface NetRunner {
  /** Runs `ip` with `args`, `input` on its standard input, and gives what it printed. */
  ip(args: readonly string[], input?: string): Promise<string>;
  /** The same for `nft`. Fails with NFT_UNUSABLE where there is none, or the kernel lacks nf_tables. */
  nft(args: readonly string[], input?: string): Promise<string>;
  /** Text of a file below /proc; undefined when there is none. Nothing is ever written there, since
   * containers mount it read-only. */
  proc(path: string): Promise<string | undefined>;
}

/** What a command printed, and what went wrong; `code` of the error is ENOENT where there is no such command. */
export interface Executed {
  readonly stdout: string;
  readonly stderr: string;
  readonly error: (Error & { code?: unknown }) | null;
}

/** Makes a runner of what runs a command to its end. */
export function runnerOf(
  execute: (argv: readonly string[], input: string) => Promise<Executed>,
  proc: NetRunner['proc'],
): NetRunner {
  const run = async (
    argv: readonly string[],
    input: string,
    explain: (failed: Failed) => NetproxyError,
  ): Promise<string> => {
    const { stdout, stderr, error } = await execute(argv, input);
    if (error !== null) throw explain({ argv, input, error, stderr });
    return stdout;
  };
  return {
    ip: (args, input = '') => run(['ip', ...args], input, explainIp),
    nft: (args, input = '') => run(['nft', ...args], input, explainNft),
    proc,
  };
}

/** Makes a runner; `prefix` is a command that the others are run by, such as nsenter with its arguments. */
export function netRunner(prefix: readonly string[], proc: NetRunner['proc']): NetRunner {
  return runnerOf((argv, input) => execute([...prefix, ...argv], input), proc);
}

/** Acts on the namespace that this process lives in. */
export const netCommands: NetRunner = netRunner([], async (path) => {
  try {
    return await readFile(`/proc/${path}`, 'utf8');
  } catch {
    return undefined;
  }
});

interface Failed {
  readonly argv: readonly string[];
  readonly input: string;
  readonly error: Error & { code?: unknown };
  readonly stderr: string;
}

function execute(argv: readonly string[], input: string): Promise<Executed> {
  const [file = '', ...args] = argv;
  const options = {
    // Error texts are matched below, so they must not be translated.
    env: { ...process.env, LC_ALL: 'C' },
    timeout: NET_COMMAND_DEADLINE_MS,
    maxBuffer: NET_COMMAND_OUTPUT_MAX_BYTES,
  };
  return new Promise((resolve) => {
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      resolve({ stdout, stderr, error });
    });
    child.stdin?.on('error', () => {
      // The command stopped at an earlier line and closed its input; its exit code tells.
    });
    child.stdin?.end(input);
  });
}

/** Names the one command that went wrong: of a batch, the line that `ip` stopped at. */
function explainIp({ argv, input, error, stderr }: Failed): NetproxyError {
  const line = Number(/Command failed .*:(\d+)/.exec(stderr)?.[1] ?? Number.NaN);
  const failed = input.split('\n')[line - 1];
  const options = argv.filter((word) => word !== '-batch' && word !== '-');
  const command = failed === undefined ? argv.join(' ') : [...options, failed].join(' ');
  const said = stderr.replaceAll(/^Command failed .*$/gm, '').trim();
  if (error.code === 'ENOENT') {
    return new NetproxyError('IP_COMMAND_MISSING', 'running "ip": there is no such command in PATH', {
      cause: error,
    });
  }
  if (stderr.includes('BusyBox')) {
    return new NetproxyError(
      'IP_COMMAND_MISSING',
      `running "${command}": this "ip" is of BusyBox, which lacks what is needed`,
      { cause: error },
    );
  }
  if (stderr.includes('Operation not permitted'))
    return netAdminMissing(`running "${command}": ${said}`, error);
  return new NetproxyError(
    'IP_COMMAND_FAILED',
    `running "${command}": ${said === '' ? error.message : said}`,
    { cause: error },
  );
}

/** The table is not there; told apart from everything else, since it is no failure. */
export const NO_TABLE: RegExp = /No such file or directory/;

/** nft applies a script whole or not at all, so there is no one line to name but what it says itself. */
function explainNft({ argv, error, stderr }: Failed): NetproxyError {
  const said = stderr.trim() === '' ? error.message : stderr.trim().split('\n').slice(0, 3).join(' ');
  const missing = error.code === 'ENOENT' || /nsenter: failed to execute nft/.test(stderr);
  if (missing) {
    return new NetproxyError('NFT_UNUSABLE', 'there is no command "nft" in PATH', { cause: error });
  }
  if (stderr.includes('Operation not permitted'))
    return netAdminMissing(`running "${argv.join(' ')}": ${said}`, error);
  return new NetproxyError('NFT_UNUSABLE', `running "${argv.join(' ')}": ${said}`, { cause: error });
}
