/** The network namespace of a running container, as this machine's /proc shows it. */
import { readFileSync, readlinkSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import type { Container } from './container.ts';
import { joined, shortId } from './container.ts';

/** Texts of files and targets of links below /proc; undefined where there is none. */
export interface Proc {
  text(path: string): string | undefined;
  link(path: string): string | undefined;
}

const attempt = (read: () => string): string | undefined => {
  try {
    return read();
  } catch {
    return undefined;
  }
};

export const ownProc: Proc = {
  text: (path) => attempt(() => readFileSync(`/proc/${path}`, 'utf8')),
  link: (path) => attempt(() => readlinkSync(`/proc/${path}`)),
};

/**
 * The number of a container's network namespace; undefined when its process cannot be seen. That of a remote
 * engine may have the number of any process here, so the control group must be the container's.
 */
export function namespaceOf({ id, pid, running }: Container, proc: Proc = ownProc): string | undefined {
  if (!running || pid === 0 || proc.text(`${pid}/cgroup`)?.includes(id) !== true) return undefined;
  return numberOf(proc.link(`${pid}/ns/net`));
}

/** Of "net:[4026531840]" (namespaces(7)). */
function numberOf(link: string | undefined): string | undefined {
  return /\d+/.exec(link ?? '')?.[0];
}

export interface Entrance {
  /** Paths below /proc. */
  readonly netns: string;
  readonly resolvConf: string;
  /** Number of the namespace. */
  readonly number: string;
}

/**
 * How the network namespace of a container is entered. Throws CONTAINER_UNSUITABLE for one that has none of its
 * own, or whose cannot be seen.
 */
export function entranceOf(container: Container, proc: Proc = ownProc): Entrance {
  const { name, pid, networkMode } = container;
  const unsuitable = (why: string, hint: string): NetproxyError =>
    new NetproxyError('CONTAINER_UNSUITABLE', `${name}: ${why}`, { hint });
  if (!container.running) throw unsuitable('the container does not run', `Start it: docker start ${name}.`);
  const shared = joined(networkMode);
  if (shared !== undefined) {
    throw unsuitable(
      `the container is in the network namespace of another, ${shortId(shared)}`,
      'Attach to that one: what is done there holds for all that share its network.',
    );
  }
  const number = namespaceOf(container, proc);
  if (networkMode === 'host' || (number !== undefined && number === numberOf(proc.link('self/ns/net')))) {
    throw unsuitable(
      'the container is in the network namespace of the machine, which would be taken over as a whole',
      'Give the container a network of its own; a whole machine is taken over by "netproxy run".',
    );
  }
  if (number === undefined) {
    throw unsuitable(
      `its process, ${pid}, cannot be seen in /proc`,
      'Run netproxy as root on the machine of the engine; in a container, with "pid: host" and the capabilities SYS_PTRACE, SYS_ADMIN and NET_ADMIN.',
    );
  }
  return { netns: `/proc/${pid}/ns/net`, resolvConf: `/proc/${pid}/root/etc/resolv.conf`, number };
}
