/**
 * What a user would pick instead, each as its own manual has it. They are measured on a host of their own,
 * one at a time, and only when they are installed: docs/benchmark.md.
 */
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { LAB, waitFor, waitForPort } from '../test/lab/namespaces.ts';
import type { Door, Running, Subject } from './running.ts';
import { destination, end, running, sshArguments, START_DEADLINE_MS, transparent } from './running.ts';

/** Debian has these; the others are single binaries that their projects offer. */
export const PACKAGES = ['sshuttle', 'redsocks'] as const;
const SOCKS_PORT = 1080;
const REDIRECT_PORT = 12345;
/** Address of the TUN of those that have one; benchmarking's own range (RFC 2544). */
const TUN_ADDRESS = '198.18.0.1/30';

/** Paths given by `--program NAME=PATH`. */
const given = new Map<string, string>();

export function useProgram(name: string, path: string): void {
  given.set(name, path);
}

/** Where a program is: as given, or in PATH and where Debian keeps daemons. */
function find(name: string): string | undefined {
  const path = given.get(name);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  for (const file of path === undefined ? folders.map((folder) => join(folder, name)) : [path]) {
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not there: the next folder.
    }
  }
  return undefined;
}

export function install(): void {
  execFileSync('apt-get', ['install', '-y', '--no-install-recommends', ...PACKAGES], {
    stdio: 'inherit',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

interface Rival {
  readonly name: string;
  readonly start: (door: Door, program: string) => Promise<Running>;
}

/** What the rival under way has started, for its end when it does not come up; there is one at a time. */
let spawned: ChildProcess[] = [];

function spawn(door: Door, argv: readonly string[]): ChildProcess {
  const child = door.host.spawn(argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  spawned.push(child);
  return child;
}

/** `ssh -D`, which all SOCKS clients stand on. */
async function socks(door: Door): Promise<ChildProcess> {
  const listen = `127.0.0.1:${SOCKS_PORT}`;
  const child = spawn(door, [...sshArguments(door), '-N', '-D', listen, destination(door)]);
  await waitForPort(door.host, SOCKS_PORT);
  return child;
}

/** Waits for the device and sends what goes to the target into it. */
async function route(door: Door, device: string, address?: string): Promise<void> {
  await waitFor(`device ${device}`, async () => {
    const { code } = await door.host.run(['ip', 'link', 'show', 'dev', device], { mayFail: true });
    return code === 0;
  });
  const lines = address === undefined ? [] : [`addr add ${address} dev ${device}`];
  await door.host.ip(...lines, `link set ${device} up`, `route replace ${LAB.target.v4}/32 dev ${device}`);
}

function file(door: Door, name: string, text: string): string {
  const path = join(door.sshd.directory, name);
  writeFileSync(path, text);
  return path;
}

const RIVALS: readonly Rival[] = [
  {
    name: 'sshuttle',
    async start(door, program) {
      const started = performance.now();
      const shell = sshArguments(door).join(' ');
      const remote = `${destination(door)}:${door.port}`;
      const child = spawn(door, [
        ...[program, '--method', 'nft', '--disable-ipv6', '-e', shell, '-r', remote],
        `${LAB.target.v4}/32`,
      ]);
      // A connect before would be remembered by conntrack as one that is not redirected.
      await waitFor(
        'the rules of sshuttle',
        async () => {
          const { stdout } = await door.host.run(['nft', 'list', 'ruleset']);
          return stdout.includes('redirect to');
        },
        START_DEADLINE_MS,
      );
      return await running(door, [child], started, transparent);
    },
  },
  {
    name: 'redsocks',
    async start(door, program) {
      const started = performance.now();
      const config = file(
        door,
        'redsocks.conf',
        `base { log_debug = off; log_info = off; log = stderr; daemon = off; redirector = iptables; }
redsocks { local_ip = 127.0.0.1; local_port = ${REDIRECT_PORT}; ip = 127.0.0.1; port = ${SOCKS_PORT}; type = socks5; }
`,
      );
      const ssh = await socks(door);
      const child = spawn(door, [program, '-c', config]);
      await waitForPort(door.host, REDIRECT_PORT);
      await door.host.run(['nft', '-f', '-'], {
        input: `table ip bench {
chain output {
type nat hook output priority -100
ip daddr ${LAB.target.v4} meta l4proto tcp redirect to :${REDIRECT_PORT}
}
}
`,
      });
      return await running(door, [ssh, child], started, transparent, async () => {
        await door.host.run(['nft', 'delete table ip bench']);
      });
    },
  },
  {
    name: 'hev-socks5-tunnel',
    async start(door, program) {
      const started = performance.now();
      const config = file(
        door,
        'hev.yml',
        `tunnel: { name: hev0, mtu: 8500, ipv4: ${TUN_ADDRESS.split('/')[0]} }
socks5: { port: ${SOCKS_PORT}, address: 127.0.0.1, udp: tcp }
misc: { log-level: error }
`,
      );
      const ssh = await socks(door);
      const child = spawn(door, [program, config]);
      await route(door, 'hev0');
      return await running(door, [ssh, child], started, transparent);
    },
  },
  {
    name: 'tun2socks',
    async start(door, program) {
      const started = performance.now();
      const ssh = await socks(door);
      const proxy = `socks5://127.0.0.1:${SOCKS_PORT}`;
      const child = spawn(door, [program, '-device', 't2s0', '-proxy', proxy, '-loglevel', 'error']);
      await route(door, 't2s0', TUN_ADDRESS);
      return await running(door, [ssh, child], started, transparent);
    },
  },
  {
    name: 'sing-box',
    async start(door, program) {
      const started = performance.now();
      const { user, hostKeyFile, clientKeyFile } = door.sshd;
      const config = file(
        door,
        'sing-box.json',
        JSON.stringify({
          log: { level: 'error' },
          inbounds: [{ type: 'tun', interface_name: 'sb0', address: [TUN_ADDRESS], auto_route: false }],
          outbounds: [
            {
              type: 'ssh',
              ...{ server: LAB.bastion.v4, server_port: door.port, user },
              ...{ private_key_path: clientKeyFile },
              host_key: [readFileSync(`${hostKeyFile}.pub`, 'utf8').split(' ').slice(0, 2).join(' ')],
            },
          ],
        }),
      );
      const child = spawn(door, [program, 'run', '-c', config]);
      await route(door, 'sb0');
      return await running(door, [child], started, transparent);
    },
  },
];

async function startOrEnd({ name, start }: Rival, door: Door): Promise<Running> {
  spawned = [];
  try {
    return await start(door, find(name)!);
  } catch (error) {
    await Promise.all(spawned.map(end));
    throw error;
  }
}

/** All of them, present or not. */
export const rivals: readonly Subject[] = RIVALS.map((rival) => ({
  name: rival.name,
  absent: () => (find(rival.name) === undefined ? `${rival.name} is not installed` : undefined),
  start: (door) => startOrEnd(rival, door),
}));
