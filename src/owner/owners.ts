/**
 * Who opened a flow: the kernel is asked for the socket behind the flow's tuple, and /proc for the process
 * that holds it. Each step is taken when its answer is read, since it costs more than the one before:
 * about 10 us for the user, and 1 us for each descriptor of the processes that are looked through.
 */
import type { FlowTuple } from '../core/flow.ts';
import { OWNER_DESCRIPTORS_MAX, OWNER_PROCESSES_REMEMBERED } from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import type { Native } from '../core/native.ts';
import type { Owner, Owners } from '../core/owner.ts';
import { ControlGroups } from './control-groups.ts';
import { containerOf, processControlGroup, processGroup, processNames } from './processes.ts';

export interface OwnersOptions {
  readonly native: Pick<Native, 'socketOwner' | 'socketHolder'>;
  /** The TUN device, which sockets may be bound to. */
  readonly device: string;
  readonly log: Log;
}

/** IANA's numbers. */
const PROTOCOLS = { tcp: 6, udp: 17 } as const;

type Socket = NonNullable<ReturnType<Native['socketOwner']>>;

/** The owners of flows of this namespace, by sock_diag(7) and /proc. */
export class SocketOwners implements Owners {
  readonly #options: OwnersOptions;
  /** Processes that held the sockets asked about last, the latest first. */
  #recent: readonly number[] = [];
  #groups: ControlGroups | undefined;
  readonly #told = new Set<string>();
  /** Of the flow that is being decided on, or was last. */
  #last: { readonly tuple: FlowTuple; readonly owner: FoundOwner | undefined } | undefined;

  constructor(options: OwnersOptions) {
    this.#options = options;
  }

  ownerOf(tuple: FlowTuple): Owner | undefined {
    try {
      return this.#find(tuple);
    } catch (error) {
      this.#tellOnce(`sockets cannot be asked for their owners (${(error as Error).message})`);
      return undefined;
    }
  }

  /**
   * What is shown of an owner: the user, and the process where a rule has just asked for it. To look for it would cost
   * most, often in vain, since without such rules netproxy has given up the right to see it.
   */
  shown(tuple: FlowTuple): Owner | undefined {
    try {
      return (this.#last?.tuple === tuple ? this.#last.owner : this.#find(tuple))?.known;
    } catch {
      // Nothing depends on it, so nobody is warned.
      return undefined;
    }
  }

  #find(tuple: FlowTuple): FoundOwner | undefined {
    const { protocol, source, destination } = tuple;
    const { native, device } = this.#options;
    // The kernel does not list the sockets of pings.
    if (protocol === 'icmp') return undefined;
    const socket = native.socketOwner(
      PROTOCOLS[protocol],
      ...([source.address, source.port, destination.address, destination.port] as const),
      device,
    );
    const owner = socket === undefined ? undefined : new FoundOwner(socket, this);
    this.#last = { tuple, owner };
    return owner;
  }

  /** The process that holds the socket, if it is visible. */
  holderOf(inode: number): number | undefined {
    const { pid, forbidden } = this.#options.native.socketHolder(inode, this.#recent, OWNER_DESCRIPTORS_MAX);
    if (pid === 0) {
      this.#tellOnce(
        forbidden
          ? 'the descriptors of some processes may not be seen (CAP_SYS_PTRACE is missing)'
          : 'the process of a flow is not visible in /proc (is the namespace of processes another?)',
      );
      return undefined;
    }
    this.#recent = [pid, ...this.#recent.filter((other) => other !== pid)].slice(
      0,
      OWNER_PROCESSES_REMEMBERED,
    );
    return pid;
  }

  groupPath(id: bigint): string | undefined {
    this.#groups ??= new ControlGroups();
    return this.#groups.pathOf(id);
  }

  #tellOnce(why: string): void {
    if (this.#told.has(why)) return;
    this.#told.add(why);
    this.#options.log.warn({}, `${why}: rules that ask for owners do not match such flows`);
  }
}

/** Finds out what is read of it, once. */
class FoundOwner implements Owner {
  readonly uid: number;
  readonly #socket: Socket;
  readonly #owners: SocketOwners;
  #pid: number | undefined;
  #searched = false;
  #cgroup: string | undefined;
  #grouped = false;
  #process: readonly string[] | undefined;

  constructor(socket: Socket, owners: SocketOwners) {
    this.uid = socket.uid;
    this.#socket = socket;
    this.#owners = owners;
  }

  /** What was found out so far. */
  get known(): Owner {
    return { uid: this.uid, pid: this.#pid, process: this.#process };
  }

  get pid(): number | undefined {
    if (!this.#searched) {
      this.#searched = true;
      this.#pid = this.#owners.holderOf(this.#socket.inode);
    }
    return this.#pid;
  }

  get gid(): number | undefined {
    return this.pid === undefined ? undefined : processGroup(this.pid);
  }

  get process(): readonly string[] | undefined {
    if (this.pid !== undefined) this.#process ??= processNames(this.pid);
    return this.#process;
  }

  get cgroup(): string | undefined {
    if (!this.#grouped) {
      this.#grouped = true;
      this.#cgroup = this.#findGroup();
    }
    return this.#cgroup;
  }

  get container(): string | undefined {
    return this.cgroup === undefined ? undefined : containerOf(this.cgroup);
  }

  /** The kernel's word costs least. Where it is the root, only version 1 may divide. */
  #findGroup(): string | undefined {
    const path = this.#owners.groupPath(this.#socket.cgroup);
    if (path !== undefined && path !== '/') return path;
    return (this.pid === undefined ? undefined : processControlGroup(this.pid)) ?? path;
  }
}
