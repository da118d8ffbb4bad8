/**
 * What netproxy keeps of its rights once the namespace is taken over: CAP_NET_ADMIN, to put routes and filter
 * right again and to mark its sockets, and no more. See docs/privileges.md for who ends up as whom.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import type { Log } from '../core/log.ts';
import type { Native } from '../core/native.ts';
import type { UserChoice } from '../core/user.ts';
import { isReadableBy } from './readable.ts';
import type { Reader } from './readable.ts';
import { CAPABILITY, parseStatus } from './status.ts';
import type { ProcessStatus } from './status.ts';

/** "nobody" of most systems; a number, since an image may have no /etc/passwd. */
const NOBODY = 65_534;

/** Groups from here on are the operator's, such as the fsGroup of Kubernetes, by which secrets may be read. */
const FIRST_OWN_GROUP = 1000;

export interface PrivilegePlan {
  readonly become: Reader | undefined;
  /** Capabilities that are kept, as far as they are there. */
  readonly keep: readonly number[];
  /** Why the user stays, if so. */
  readonly why: string;
  /** The operator asked for another outcome. */
  readonly unwanted: boolean;
}

/** What is needed again after the start. */
export interface Needs {
  /** An SSH agent is used to log in. */
  readonly agent: boolean;
  /** The key of a bastion that is met for the first time is written to a file. */
  readonly tofu: boolean;
  /** Rules ask for the processes of flows, which may be other users'. */
  readonly processes: boolean;
  /** A helper looks after the network, so that NET_ADMIN is not needed either. */
  readonly helper?: boolean;
  /** Namespaces of other processes are entered. */
  readonly entering?: boolean | undefined;
  /** Of the files that a reload reads, the first that `reader` may not read. */
  unreadable(reader: Reader): string | undefined;
}

/**
 * setns(2) wants SYS_ADMIN, and a look at the namespaces of another user's process SYS_PTRACE (proc_pid_ns(5)). The
 * others are what the next container may need, which nobody knows yet: an agent, rules that ask for processes.
 */
const ENTERING: readonly number[] = [
  CAPABILITY.SYS_ADMIN,
  CAPABILITY.SYS_PTRACE,
  CAPABILITY.DAC_READ_SEARCH,
  CAPABILITY.DAC_OVERRIDE,
];

/** Decides. Pure. */
export function planPrivileges(user: UserChoice, status: ProcessStatus, needs: Needs): PrivilegePlan {
  // /proc/PID/fd is listed by whoever may read any directory, and its links by whoever might trace the process.
  const seeing = needs.processes ? [CAPABILITY.DAC_READ_SEARCH, CAPABILITY.SYS_PTRACE] : [];
  const network = needs.helper === true ? [] : [CAPABILITY.NET_ADMIN];
  const entering = needs.entering === true ? ENTERING : [];
  const stay = (why: string, unwanted = false): PrivilegePlan => ({
    become: undefined,
    // The socket of an agent mostly belongs to another user, as that file may, and uid 0 alone opens neither.
    keep: [
      ...new Set([
        ...network,
        ...(needs.agent || needs.tofu ? [CAPABILITY.DAC_OVERRIDE] : []),
        ...seeing,
        ...entering,
      ]),
    ],
    why,
    unwanted,
  });
  if (user === 'keep') return stay('"user" is "keep"');
  const wanted = user === 'auto' ? { uid: NOBODY, gid: NOBODY } : user;
  if (status.uid === wanted.uid || (user === 'auto' && status.uid !== 0))
    return stay('it was started as this user');
  for (const name of ['SETUID', 'SETGID'] as const) {
    if (!status.effective.has(CAPABILITY[name]))
      return stay(`without the capability ${name} nobody can become another user`, user !== 'auto');
  }
  const become = { ...wanted, groups: status.groups.filter((group) => group >= FIRST_OWN_GROUP) };
  if (user === 'auto') {
    if (needs.agent) return stay('an SSH agent answers only to its own user and to uid 0');
    if (needs.tofu) return stay('the file of "tofu" is written to when a bastion is met');
    // A key or certificate that is exchanged and cannot be read would be an outage, hours later.
    const file = needs.unreadable(become);
    if (file !== undefined) return stay(`user ${NOBODY} could not read ${file} again when it changes`);
  }
  return { become, keep: [...network, ...seeing], why: '', unwanted: false };
}

export interface ReduceOptions {
  readonly native: Pick<Native, 'reducePrivileges' | 'filterSystemCalls'>;
  readonly user: UserChoice;
  readonly seccomp: boolean;
  readonly agent: boolean;
  readonly tofu: boolean;
  readonly processes: boolean;
  readonly helper?: boolean;
  readonly entering?: boolean | undefined;
  /** Files that a reload reads again, those that are not there too. */
  readonly files: Iterable<string>;
  readonly log: Log;
}

/**
 * Gives up everything but what is needed from now on, and says in the log what is left. Nothing of it is a
 * reason not to run: what cannot be given up is told.
 */
export function reducePrivileges(options: ReduceOptions): void {
  const { native, user, seccomp, files, log } = options;
  const readable = [...files].filter(mayRead);
  const unreadable = (reader: Reader): string | undefined =>
    readable.find((file) => !isReadableBy(reader, file));
  const { become, keep, why, unwanted } = planPrivileges(user, ownStatus(), { ...options, unreadable });
  try {
    if (become === undefined) native.reducePrivileges(keep);
    else native.reducePrivileges(keep, become.uid, become.gid, become.groups);
  } catch (error) {
    log.warn({ error: (error as Error).message }, 'the privileges could not be reduced as they should');
  }
  let systemCallsRefused = 0;
  if (seccomp) {
    try {
      systemCallsRefused = native.filterSystemCalls();
    } catch (error) {
      log.warn(
        { error: (error as Error).message },
        'there is no filter of system calls: the kernel, or what runs the container, does not allow one',
      );
    }
  }
  const { uid, gid, effective } = ownStatus();
  const capabilities = Object.entries(CAPABILITY).flatMap(([name, bit]) =>
    effective.has(bit) ? [name] : [],
  );
  const told = { uid, gid, capabilities, systemCallsRefused };
  if (become !== undefined) log.info(told, `privileges are reduced: user ${uid}`);
  else if (unwanted) log.warn(told, `the user stays ${uid}, and not the one of "user": ${why}`);
  else log.info(told, `privileges are reduced; the user stays ${uid}: ${why}`);
  for (const file of readable) {
    if (mayRead(file)) continue;
    log.warn(
      { file, uid },
      `${file} was read at start, but user ${uid} may not read it again: after a change of it netproxy has to be restarted, unless that user gets the right to read it`,
    );
  }
}

function mayRead(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Of this thread, which starts the commands and makes the sockets; others may have less. */
export function ownStatus(): ProcessStatus {
  return parseStatus(readFileSync('/proc/thread-self/status', 'utf8'));
}
