import { DNS_LISTEN_PORT } from '../../src/core/limits.ts';
import type { TakeOverInput } from '../../src/netns/desired.ts';
import { netRunner } from '../../src/netns/runner.ts';
import type { NetRunner } from '../../src/netns/runner.ts';
import type { Namespace } from '../lab/namespaces.ts';

export const INPUT: TakeOverInput = {
  tun: { name: 'tun0', mtu: 1500, address4: '198.18.0.1/30', address6: 'fd6e:7072::1/126' },
  local: [],
  dnsPort: DNS_LISTEN_PORT,
};

/** Acts on `namespace` instead of the one that the test runs in. */
export function runnerIn(namespace: Namespace): NetRunner {
  return netRunner(namespace.command([]), async (path) => {
    const { code, stdout } = await namespace.run(['cat', `/proc/${path}`], { mayFail: true });
    return code === 0 ? stdout : undefined;
  });
}

/** A TUN that stays without a process; what the addon opens vanishes with it. */
export async function addTun(namespace: Namespace, name = 'tun0'): Promise<void> {
  await namespace.ip(`tuntap add dev ${name} mode tun`);
}

/** The errno of a TCP connect, or "timeout" after `ms`, or "open". */
export async function connectErrno(namespace: Namespace, address: string, ms = 300): Promise<string> {
  const script = `
    const socket = require('node:net').connect({ host: '${address}', port: 80 });
    const done = (word) => { console.log(word); process.exit(); };
    socket.on('error', (error) => done(error.code)).on('connect', () => done('open'));
    setTimeout(() => done('timeout'), ${ms});`;
  const { stdout } = await namespace.run([process.execPath, '-e', script]);
  return stdout.trim();
}
