/** Several bastions, each a real sshd, while flows run. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const SECOND_PORT = 2223;

let world: World;
let second: Sshd;
let netproxy: Netproxy | undefined;
let configFile: string;
beforeEach(async () => {
  world = await World.create();
  second = await startSshd({ netns: world.lab.bastion.name, address: LAB.bastion.v4, port: SECOND_PORT });
  configFile = join(world.sshd.directory, 'netproxy.yaml');
});
afterEach(async () => {
  await netproxy?.stop('SIGKILL');
  netproxy = undefined;
  await second.stop();
  await world.close();
});

const entry = (name: string, sshd: Sshd, more = ''): string =>
  `  - { name: ${name}, host: ${LAB.bastion.v4}, port: ${sshd.port}, user: ${sshd.user}, identityFile: ${sshd.clientKeyFile}, knownHostsFile: ${sshd.knownHostsFile}${more} }`;

function configure(bastions: readonly string[], more = ''): void {
  writeFileSync(`${configFile}.new`, `bastions:\n${bastions.join('\n')}\n${more}\n`);
  renameSync(`${configFile}.new`, configFile);
}

async function start(bastions: readonly string[], more = ''): Promise<Netproxy> {
  configure(bastions, more);
  netproxy = world.bare(['-c', configFile]);
  await netproxy.ready();
  return netproxy;
}

const said = (words: string): Promise<boolean> =>
  waitFor(`the log to say ${words}`, () => netproxy?.stderr.includes(words) ?? false, 20_000);
const connects = async (): Promise<void> => {
  const answer = await world.client('connect', LAB.target.v4, PORTS.echo);
  assert.deepEqual(answer, { connected: true }, netproxy?.stderr ?? '');
};
const logins = (sshd: Sshd): number => sshd.log().match(/Accepted publickey/g)?.length ?? 0;

test('bastions that are added, changed and removed while a flow runs', async () => {
  await start([entry('one', world.sshd)]);
  const bytes = 32 * 1024 * 1024;
  const flow = world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  await waitFor('the flow', () => world.sshd.log().includes('Accepted publickey'));
  configure([entry('one', world.sshd), entry('two', second)]);
  await waitFor('the second login', () => logins(second) === 1);
  configure([entry('two', second)]);
  await said('no longer configured');
  await connects();
  const key = join(second.directory, 'other');
  await makeKey(key);
  configure([entry('two', second).replace(second.clientKeyFile, key)]);
  await said('refused');
  await connects();
  assert.equal((await flow).bytes, bytes, 'a flow on a bastion that was removed is not cut');
  assert.equal(logins(world.sshd), 1);
});

test('a bastion that is not the right one is told, and the other one is used', async () => {
  const lines = [entry('wrong', world.sshd), entry('right', second)];
  lines[0] = lines[0]!.replace(world.sshd.knownHostsFile, second.knownHostsFile);
  const running = await start(lines);
  assert.match(running.stdout, /-> right/);
  await said('HOST_KEY_UNKNOWN');
  assert.equal(logins(world.sshd), 0);
});

test('when no bastion is the right one, the start fails with the first error', async () => {
  const lines = [entry('one', world.sshd), entry('two', second)];
  lines[0] = lines[0]!.replace(world.sshd.knownHostsFile, second.knownHostsFile);
  lines[1] = lines[1]!.replace(second.knownHostsFile, world.sshd.knownHostsFile);
  configure(lines);
  const { code, stderr } = await world.refused(['-c', configFile]);
  assert.equal(code, 64, stderr);
  assert.match(stderr, /error HOST_KEY_UNKNOWN/);
});
