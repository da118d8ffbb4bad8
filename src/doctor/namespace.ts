/** The state of the network namespace as it is, for whoever is to find out what is wrong with it. */
import { readFile } from 'node:fs/promises';
import type { NetRunner } from '../netns/runner.ts';

/** Files of text by name; what cannot be had is told in its place. */
export async function namespaceState(runner: NetRunner): Promise<Readonly<Record<string, string>>> {
  const ip = (...args: string[]): Promise<string> => runner.ip(args);
  const parts: Readonly<Record<string, () => Promise<string>>> = {
    'ip-address.txt': () => ip('-d', 'address'),
    'ip-rule.txt': async () => `${await ip('-4', 'rule')}\n${await ip('-6', 'rule')}`,
    'ip-route.txt': async () =>
      `${await ip('-4', 'route', 'show', 'table', 'all')}\n${await ip('-6', 'route', 'show', 'table', 'all')}`,
    'nft.txt': () => runner.nft(['list', 'ruleset']),
    'resolv.conf.txt': () => readFile('/etc/resolv.conf', 'utf8'),
    'sockets.txt': async () => (await runner.proc('net/sockstat')) ?? 'none\n',
  };
  const read = Object.entries(parts).map(async ([name, part]) => {
    try {
      return [name, await part()] as const;
    } catch (error) {
      return [name, `not to be had: ${(error as Error).message}\n`] as const;
    }
  });
  return Object.fromEntries(await Promise.all(read));
}
