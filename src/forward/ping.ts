/**
 * Answers a ping when its target answers a connect, since SSH carries no ICMP: a connect that is
 * confirmed or refused proves the host reachable, anything else is passed on as host unreachable.
 */
import type { EchoRequest } from '../core/datagram.ts';
import type { Dialer } from '../core/dialer.ts';
import {
  PING_HOSTS_MAX,
  PING_PROBE_DEADLINE_MS,
  PING_PROBE_PORT,
  PING_PROBES_MAX,
  PING_VERDICT_MS,
  PING_WAITING_MAX,
} from '../core/limits.ts';

interface Host {
  /** Undefined while the probe is under way. */
  reachable: boolean | undefined;
  readonly waiting: EchoRequest[];
}

export class Ping {
  /** By the name of an upstream; undefined stands for the way past all of them. */
  readonly #dialers: (upstream: string | undefined) => Dialer | undefined;
  /** By upstream and address. */
  readonly #hosts = new Map<string, Host>();
  /** Connects under way. */
  #probes = 0;

  constructor(dialers: (upstream: string | undefined) => Dialer | undefined) {
    this.#dialers = dialers;
  }

  /** Beyond the limits a request is dropped, as any router may. */
  accept(request: EchoRequest, upstream?: string): void {
    const dialer = this.#dialers(upstream);
    if (dialer === undefined) {
      request.refuse('network-unreachable');
      return;
    }
    const key = `${request.destination} ${upstream ?? ''}`;
    const known = this.#hosts.get(key);
    if (known?.reachable !== undefined) {
      answer(request, known.reachable);
    } else if (known !== undefined) {
      if (known.waiting.length < PING_WAITING_MAX) known.waiting.push(request);
    } else if (this.#hosts.size < PING_HOSTS_MAX && this.#probes < PING_PROBES_MAX) {
      this.#probe(request, dialer, key);
    }
  }

  #probe(request: EchoRequest, dialer: Dialer, key: string): void {
    const host: Host = { reachable: undefined, waiting: [request] };
    this.#hosts.set(key, host);
    this.#probes++;
    const decided = (reachable: boolean): void => {
      clearTimeout(deadline);
      this.#probes--;
      host.reachable = reachable;
      for (const each of host.waiting.splice(0)) answer(each, reachable);
      setTimeout(() => this.#hosts.delete(key), PING_VERDICT_MS).unref();
    };
    const target = { address: request.destination, port: PING_PROBE_PORT };
    const dial = dialer.dial(
      target,
      { address: request.source, port: 0 },
      {
        opened: (channel) => {
          channel.start(NOTHING, NOWHERE, () => {});
          channel.abort();
          decided(true);
        },
        failed: ({ reason }) => decided(reason === 'refused'),
      },
    );
    const deadline = setTimeout(() => {
      dial.cancel();
      decided(false);
    }, PING_PROBE_DEADLINE_MS);
  }
}

const NOTHING = { ended: false, take: (): undefined => {}, taken(): void {} };
const NOWHERE = { write: (): number => 0, end(): void {} };

function answer(request: EchoRequest, reachable: boolean): void {
  if (reachable) request.answer(request.payload);
  else request.refuse();
}
