/**
 * Resolvers for the end-to-end tests of DNS. Each resolver gives every name an address of its own, so that the answer
 * itself tells who was asked.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { waitForPort } from '../lab/namespaces.ts';
import type { Namespace, RunResult } from '../lab/namespaces.ts';
import { Netproxy } from './world.ts';

const main = resolve(import.meta.dirname, '../../dist/main.js');
const COMMAND_DEADLINE_MS = 30_000;

/** What a resolver of the tests says to a name that it has nothing special for. */
export const SAYS = { far: '198.51.100.80', near: '203.0.113.66' } as const;

/** Starts dnsmasq in a namespace, listening on these addresses only. */
export async function dnsmasq(
  namespace: Namespace,
  listen: readonly string[],
  ...options: string[]
): Promise<ChildProcess> {
  const child = namespace.spawn(
    [
      'dnsmasq',
      ...[
        '--keep-in-foreground',
        '--conf-file=/dev/null',
        '--no-resolv',
        '--no-hosts',
        '--user=root',
        '--pid-file=',
      ],
      ...['--bind-interfaces', '--except-interface=lo', '--local-ttl=60'],
      ...listen.map((address) => `--listen-address=${address}`),
      ...options,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await waitForPort(namespace, 53);
  return child;
}

/** A namespace with an /etc/resolv.conf of its own, for what is run by `ip netns exec`. */
export class Resolving {
  readonly #namespace: Namespace;
  readonly #directory: string;

  constructor(namespace: Namespace, resolvConf: string, hosts = '') {
    this.#namespace = namespace;
    this.#directory = `/etc/netns/${namespace.name}`;
    mkdirSync(this.#directory, { recursive: true });
    this.write(resolvConf);
    // Only the resolver is to be asked, as in an image without nscd and systemd.
    writeFileSync(`${this.#directory}/nsswitch.conf`, 'hosts: files dns\n');
    writeFileSync(`${this.#directory}/hosts`, `127.0.0.1 localhost\n${hosts}`);
  }

  write(resolvConf: string): void {
    writeFileSync(`${this.#directory}/resolv.conf`, resolvConf);
  }

  run(...argv: string[]): Promise<RunResult> {
    return this.#namespace.runWithEtc(argv, { mayFail: true, timeoutMs: COMMAND_DEADLINE_MS });
  }

  /** `netproxy run` with these arguments. */
  netproxy(args: readonly string[]): Netproxy {
    const argv = ['netns', 'exec', this.#namespace.name, process.execPath, main, 'run', ...args];
    return new Netproxy(spawn('ip', argv, { stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
