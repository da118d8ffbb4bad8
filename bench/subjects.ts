/** What is compared: each subject is started in a namespace of an application and reaches the same target. */
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { LAB } from '../test/lab/namespaces.ts';
import { LOCAL_HALF, LOCAL_HALF_PROGRAM, PORTS } from './load.ts';
import type { Subject } from './running.ts';
import { collect, destination, knownHosts, running, sshArguments, transparent } from './running.ts';

const root = resolve(import.meta.dirname, '..');

const netproxy: Subject = {
  name: 'netproxy',
  async start(door) {
    const started = performance.now();
    const child = door.host.spawn(
      [
        process.execPath,
        join(root, 'dist/main.js'),
        'run',
        ...['--bastion', `ssh://${door.sshd.user}@${LAB.bastion.v4}:${door.port}`],
        ...['--identity', door.sshd.clientKeyFile],
        ...['--known-hosts', knownHosts(door)],
        ...['--log-level', 'warn'],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const errors = collect(child);
    const first = await Promise.race([
      once(child.stdout!, 'data').then(() => 'ready' as const),
      once(child, 'exit').then(() => 'exit' as const),
    ]);
    if (first === 'exit') throw new Error(`netproxy ended at its start: ${errors()}`);
    return await running(door, [child], started, transparent);
  },
};

const sshLocalForward: Subject = {
  name: 'ssh -L',
  async start(door) {
    const started = performance.now();
    const forwards = Object.values(PORTS).flatMap((port) => [
      '-L',
      `127.0.0.1:${port}:${LAB.target.v4}:${port}`,
    ]);
    const child = door.host.spawn([...sshArguments(door), '-N', ...forwards, destination(door)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return await running(door, [child], started, (port) => ({ address: '127.0.0.1', port }));
  },
};

/** The local half with nothing behind it; its figures are absolute, so it stands in our column. */
export const localHalf: Subject = {
  name: netproxy.name,
  async start(door) {
    const started = performance.now();
    const { address, device, own, mtu, queue } = LOCAL_HALF;
    const argv = [LOCAL_HALF_PROGRAM, device, mtu, PORTS.sink, PORTS.source].map(String);
    const child = door.host.spawn(argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')]);
    await door.host.ip(
      `addr add ${own} dev ${device}`,
      `link set ${device} mtu ${mtu} txqueuelen ${queue} up`,
      `route add ${address} dev ${device}`,
    );
    return await running(door, [child], started, (port) => ({ address, port }));
  },
};

/** The first is ours, the second the one that ratios are taken against. */
export const SUBJECTS: readonly Subject[] = [netproxy, sshLocalForward];
