/** Several bastions, each a real sshd, while flows run. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { GROUP_FAILBACK_MS } from '../../src/core/limits.ts';
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
  waitFor(`the log to say ${words}`, () => netproxy?.stderr.includes(words) ?? false, 60_000);
const connects = async (): Promise<void> => {
  const answer = await world.client('connect', LAB.target.v4, PORTS.echo);
  assert.deepEqual(answer, { connected: true }, netproxy?.stderr ?? '');
};
const logins = (sshd: Sshd): number => sshd.log().match(/Accepted publickey/g)?.length ?? 0;

test('bastions that are added, changed and removed while a flow runs', async () => {
  await start([entry('one', world.sshd)]);
  const bytes = 32 * 1024 * 1024;
  const before = await world.accepted();
  const flow = world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  await waitFor('the flow', async () => (await world.accepted()) > before);
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

interface Repeated {
  readonly connected: number;
  readonly failed: readonly string[];
  readonly longestMs: number;
}

test('one of two bastions is killed amid connects, and none fails; it is returned to when it has been back', async () => {
  const running = await start([entry('one', world.sshd), entry('two', second)]);
  const repeat = (ms: number): Promise<Repeated> =>
    world.client<Repeated>('repeat', LAB.target.v4, PORTS.echo, ms);
  const amidKill = repeat(6000);
  await said('new flows of the group go to one');
  await world.sshd.halt();
  await said('new flows of the group go to two');
  const { connected: before, failed, longestMs } = await amidKill;
  assert.deepEqual(failed, [], running.stderr);
  assert.ok(before > 5 && longestMs < 9000, `${before} connects, the longest took ${longestMs} ms`);
  await world.sshd.start();
  await waitFor('the login', () => logins(world.sshd) === 2, 60_000);
  const { failed: amidReturn } = await repeat(15_000);
  assert.deepEqual(amidReturn, []);
  const at = (words: string): number[] =>
    running.stderr
      .split('\n')
      .filter((line) => line.includes(words))
      .map((line) => Date.parse((JSON.parse(line) as { time: string }).time));
  const returned = (): number | undefined => at('new flows of the group go to one')[1];
  while (returned() === undefined) await connects();
  const backFor = returned()! - at(`connected to ${LAB.bastion.v4} port ${world.sshd.port}`)[1]!;
  assert.ok(backFor >= GROUP_FAILBACK_MS - 10, `returned to after ${backFor} ms`);
  assert.deepEqual([logins(world.sshd), logins(second)], [2, 1]);
});

test('both bastions down: connects wait, get the one that is back, and fail when none is', async () => {
  await start([entry('one', world.sshd), entry('two', second)], 'connectHold: 20s');
  await world.sshd.halt();
  await second.halt();
  await said('bastion is down');
  const waiting = connects();
  await second.start();
  await waiting;
  await second.halt();
  configure([entry('one', world.sshd), entry('two', second)], 'connectHold: 500ms');
  await said('connectHold');
  const failure = await world.client<{ code: string; ms: number }>('connect', LAB.target.v4, PORTS.echo);
  assert.equal(failure.code, 'EHOSTUNREACH');
});

test('200 flows at once through a bastion with 64 file descriptors a connection', async (t) => {
  const narrow = await startSshd({
    netns: world.lab.bastion.name,
    address: LAB.bastion.v4,
    port: SECOND_PORT + 1,
    descriptors: 64,
  });
  t.after(() => narrow.stop());
  const running = await start([entry('narrow', narrow)], 'connectHold: 60s');
  for (let round = 0; round < 2; round++) {
    const { right } = await world.client<{ right: number }>('many', LAB.target.v4, PORTS.echo, 200);
    assert.equal(right, 200, running.stderr);
    // Those that it has still, a round that begins now would lack; with -p a socket has a user as long as somebody
    // has its descriptor.
    await waitFor(
      'sshd to close its descriptors',
      async () => {
        const { stdout } = await world.lab.bastion.run(['ss', '-Htanp', `dport = :${PORTS.echo}`]);
        return !stdout.includes('users:');
      },
      60_000,
    );
  }
  assert.equal(logins(narrow), 4);
  await said('taken for its limit');
});

test('groups of the file, and a changed policy', async () => {
  const bastions = [entry('one', world.sshd), entry('two', second)];
  const running = await start(bastions, 'groups: [{ name: both, bastions: [two, one] }]');
  await connects();
  assert.match(running.stderr, /new flows of the group go to two/);
  configure(
    bastions,
    'groups: [{ name: both, bastions: [one], policy: round-robin }]\nlog: { level: debug }',
  );
  await said('groups');
  await second.halt();
  await connects();
  configure([entry('two', second)]);
  await said('no longer configured');
  await second.start();
  await connects();
});

test('bastions that are not the right one, or have no address, are told, and another is used', async () => {
  const lines = [entry('wrong', world.sshd), entry('right', second)];
  lines.push(entry('nowhere', second).replace(LAB.bastion.v4, 'bastion.invalid'));
  lines[0] = lines[0]!.replace(world.sshd.knownHostsFile, second.knownHostsFile);
  const running = await start(lines);
  assert.match(running.stdout, /-> right/);
  await said('HOST_KEY_UNKNOWN');
  await said('BASTION_UNRESOLVED');
  await connects();
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
