import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

import { NetproxyError } from '../core/errors.ts';
import { IP_COMMAND_DEADLINE_MS, IP_COMMAND_OUTPUT_MAX_BYTES } from '../core/limits.ts';
import { netAdminMissing } from './diagnose.ts';

/** What the takeover needs of the host. Injected, so that tests can act in namespaces of their own. */
export interface IpRunner {
  /** Runs `ip` with `args`, `input` on its standard input, and gives what it printed. */
  ip(args: readonly string[], input?: string): Promise<string>;
  /** Text of a file below /proc/sys/net; undefined when there is none. Nothing is ever written there,
   * since containers mount it read-only. */
  sysctl(path: string): Promise<string | undefined>;
}

/** Makes a runner; `prefix` is a command that `ip` is run by, such as nsenter with its arguments. */
export function ipRunner(prefix: readonly string[], sysctl: IpRunner['sysctl']): IpRunner {
  return {
    ip: (args, input = '') => execute([...prefix, 'ip', ...args], input),
    sysctl,
  };
}

/** Acts on the namespace that this process lives in. */
export const ipCommand: IpRunner = ipRunner([], async (path) => {
  try {
    return await readFile(`/proc/sys/net/${path}`, 'utf8');
  } catch {
    return undefined;
  }
});

function execute(argv: readonly string[], input: string): Promise<string> {
  const [file = '', ...args] = argv;
  const options = {
    // Error texts are matched below, so they must not be translated.
    env: { ...process.env, LC_ALL: 'C' },
    timeout: IP_COMMAND_DEADLINE_MS,
    maxBuffer: IP_COMMAND_OUTPUT_MAX_BYTES,
  };
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(explain(argv, input, error, stderr));
    });
    child.stdin?.on('error', () => {
      // `ip` stopped at an earlier line and closed its input; its exit code tells.
    });
    child.stdin?.end(input);
  });
}

/** Names the one command that went wrong: of a batch, the line that `ip` stopped at. */
function explain(
  argv: readonly string[],
  input: string,
  error: Error & { code?: unknown },
  stderr: string,
): NetproxyError {
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
