/** What the process was given: rights, device, memory, and whether its own parts are whole. */
import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import os from 'node:os';
import { NetproxyError } from '../core/errors.ts';
import { containerLines } from '../core/finding.ts';
import type { Finding } from '../core/finding.ts';
import { MEMORY_COMFORTABLE_BYTES, MEMORY_NEEDED_BYTES } from '../core/limits.ts';
import { loadNative } from '../core/native.ts';
import { NET_ADMIN_HINT, TUN_HINT } from '../netns/diagnose.ts';
import { CAPABILITY } from '../process/status.ts';
import type { ProcessStatus } from '../process/status.ts';
import { assertNativeCrypto } from '../ssh/ssh2.ts';

const MIB = 1024 * 1024;

/** Opens what has to be opened, and makes and changes nothing. */
export function examineProcess(status: ProcessStatus): Finding[] {
  return [
    {
      check: 'kernel',
      status: 'ok',
      found: `${os.type()} ${os.release()}, ${process.arch}, Node ${process.version}`,
    },
    parts(),
    capability(status),
    tunDevice(),
    noNewPrivileges(status),
    seccomp(status),
    memory(),
    clock(),
  ];
}

function parts(): Finding {
  const check = 'own parts';
  try {
    loadNative();
    assertNativeCrypto();
    return { check, status: 'ok', found: 'the native addon and the crypto module of ssh2 are there' };
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    return { check, status: 'fail', found: error.message, fix: error.hint };
  }
}

function capability({ effective, uid }: ProcessStatus): Finding {
  const check = 'CAP_NET_ADMIN';
  if (effective.has(CAPABILITY.NET_ADMIN)) return { check, status: 'ok', found: `there, as user ${uid}` };
  const more =
    uid === 0 ? '' : `; a container engine gives capabilities to root only, and this is user ${uid}`;
  return { check, status: 'fail', found: `missing${more}`, fix: NET_ADMIN_HINT };
}

/** Opens the device and makes nothing of it. */
function tunDevice(): Finding {
  const check = '/dev/net/tun';
  const wrong = (found: string, fix = TUN_HINT): Finding => ({ check, status: 'fail', found, fix });
  try {
    if (!statSync('/dev/net/tun').isCharacterDevice()) {
      return wrong(
        'is there, but no device: a mount of a path that the host does not have makes a directory or file',
      );
    }
    closeSync(openSync('/dev/net/tun', constants.O_RDWR));
    return { check, status: 'ok', found: 'can be opened' };
  } catch (error) {
    switch ((error as NodeJS.ErrnoException).code) {
      case 'ENOENT':
      case 'ENOTDIR':
        return wrong('missing');
      case 'ENODEV':
      case 'ENXIO':
        return wrong("is there, but the host's kernel has no TUN driver", 'On the host: modprobe tun');
      case 'EACCES':
        return wrong(
          'may not be opened by this user',
          'On the host: chmod 666 /dev/net/tun; or run netproxy as root.',
        );
      default:
        return wrong(`may not be opened: ${(error as Error).message}`);
    }
  }
}

function noNewPrivileges({ noNewPrivileges: set }: ProcessStatus): Finding {
  const found = set ? 'set by what started it' : 'not set yet; "run" sets it once it has started';
  return { check: 'no_new_privs', status: 'ok', found };
}

function seccomp({ seccomp: state }: ProcessStatus): Finding {
  const check = 'seccomp';
  if (state === undefined) {
    return {
      check,
      status: 'warn',
      found: 'the kernel has no filters of system calls; netproxy runs without one',
      fix: 'Use a kernel with CONFIG_SECCOMP_FILTER, or set "seccomp: off" to say that it is meant so.',
    };
  }
  const found = state
    ? 'a filter of the container is in place; "run" adds its own'
    : '"run" puts its filter in place';
  return { check, status: 'ok', found };
}

/** Where control groups tell the limit: version 2, and version 1. */
const MEMORY_FILES = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'];

function memory(): Finding {
  const check = 'memory';
  const limits = MEMORY_FILES.flatMap((file) => {
    try {
      const limit = Number(readFileSync(file, 'utf8'));
      return Number.isFinite(limit) ? [limit] : [];
    } catch {
      return [];
    }
  });
  const limit = Math.min(os.totalmem(), ...limits);
  const text = `${Math.round(limit / MIB)} MiB`;
  if (limit >= MEMORY_COMFORTABLE_BYTES) return { check, status: 'ok', found: text };
  return {
    check,
    status: limit < MEMORY_NEEDED_BYTES ? 'fail' : 'warn',
    found: `${text}; netproxy needs ${MEMORY_NEEDED_BYTES / MIB} MiB, and under load ${MEMORY_COMFORTABLE_BYTES / MIB}`,
    fix: containerLines(
      `mem_limit: ${MEMORY_COMFORTABLE_BYTES / MIB}m`,
      `resources: { limits: { memory: ${MEMORY_COMFORTABLE_BYTES / MIB}Mi } }`,
      `--memory ${MEMORY_COMFORTABLE_BYTES / MIB}m`,
    ),
  };
}

/** A certificate is judged by the clock, and so is this program: it was not made before this year. */
const EARLIEST = Date.UTC(2026, 0);

function clock(): Finding {
  const check = 'clock';
  const now = new Date();
  const found = now.toISOString();
  if (now.getTime() >= EARLIEST) return { check, status: 'ok', found };
  const fix = 'Set the clock of the host; containers share it: timedatectl set-ntp true';
  return { check, status: 'fail', found: `${found} is in the past: certificates will not be valid yet`, fix };
}

/** Whether /proc/sys can be written to, which nothing here depends on. */
export function examineProcSys(): Finding {
  const check = '/proc/sys';
  try {
    accessSync('/proc/sys/net/ipv4/ip_forward', constants.W_OK);
    return { check, status: 'ok', found: 'writable; netproxy writes nothing there' };
  } catch {
    return { check, status: 'ok', found: 'read-only, as containers have it; netproxy writes nothing there' };
  }
}
