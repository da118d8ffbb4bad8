/**
 * Bastions that are reached through others, each a real sshd: the first beside the application, the others on
 * the network of the target, which the application cannot reach.
 */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const INNER_PORTS = [2301, 2302];

let world: World;
/** Behind the first, in order. */
let inner: Sshd[];
let netproxy: Netproxy;
let configFile: string;
beforeEach(async () => {
  world = await World.create();
  const { name } = world.lab.target;
  inner = [];
  for (const port of INNER_PORTS) inner.push(await startSshd({ netns: name, address: LAB.target.v4, port }));
  configFile = join(world.sshd.directory, 'netproxy.yaml');
});
afterEach(async () => {
  await netproxy?.stop('SIGKILL');
  for (const sshd of inner) await sshd.stop();
  await world.close();
});

interface Hop {
  readonly identityFile?: string;
  readonly knownHostsFile?: string;
  readonly jump?: string;
}

function entry(name: string, sshd: Sshd, hop: Hop = {}): string {
  const { identityFile = sshd.clientKeyFile, knownHostsFile = sshd.knownHostsFile, jump } = hop;
  const place = `name: ${name}, host: ${sshd.address}, port: ${sshd.port}, user: ${sshd.user}`;
  return `  - { ${place}, identityFile: ${identityFile}, knownHostsFile: ${knownHostsFile}${jump === undefined ? '' : `, jump: ${jump}`} }`;
}

function configure(bastions: readonly string[], more = ''): void {
  writeFileSync(`${configFile}.new`, `bastions:\n${bastions.join('\n')}\n${more}\n`);
  renameSync(`${configFile}.new`, configFile);
}

async function start(bastions: readonly string[], more = ''): Promise<void> {
  configure(bastions, more);
  netproxy = world.bare(['-c', configFile]);
  await netproxy.ready();
}

const said = (words: string, times = 1): Promise<boolean> =>
  waitFor(`the log to say ${words}`, () => netproxy.stderr.split(words).length > times, 60_000);
const connects = async (): Promise<void> => {
  const answer = await world.client('connect', LAB.target.v4, PORTS.echo);
  assert.deepEqual(answer, { connected: true }, netproxy.stderr);
};
const logins = (sshd: Sshd): number => sshd.log().match(/Accepted publickey/g)?.length ?? 0;
const echoes = async (bytes: number): Promise<void> => {
  const answer = await world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  assert.equal(answer.bytes, bytes, netproxy.stderr);
};

const twoHops = (hop: Hop = {}): string[] => [
  entry('inner', inner[0]!, { jump: 'edge', ...hop }),
  entry('edge', world.sshd),
];

test('flows go through three hops, each with a key and a host key of its own', async () => {
  await start([
    entry('edge', world.sshd),
    entry('inner', inner[0]!, { jump: 'edge' }),
    entry('core', inner[1]!, { jump: 'inner' }),
  ]);
  assert.match(netproxy.stdout, /-> core \(connected to \S+ port 2302 through inner\)/);
  await echoes(16 * 1024 * 1024);
  const { right } = await world.client<{ right: number }>('many', LAB.target.v4, PORTS.echo, 50);
  assert.equal(right, 50, netproxy.stderr);
  assert.deepEqual([world.sshd, ...inner].map(logins), [1, 1, 1]);
  assert.match(inner[0]!.log(), new RegExp(`Accepted publickey for \\S+ from ${LAB.bastion.far4}`));
  assert.match(inner[1]!.log(), new RegExp(`Accepted publickey for \\S+ from ${LAB.target.v4}`));
  assert.equal(await netproxy.stop(), 0);
  for (const sshd of inner)
    await waitFor('the goodbye', () => /Received disconnect|Connection closed by/.test(sshd.log()));
});

test('--jump goes through a list of hops, whose credentials are those of the other flags', async () => {
  const [first, second] = inner as [Sshd, Sshd];
  const key = world.sshd.clientKeyFile;
  const hosts = join(world.sshd.directory, 'all_hosts');
  for (const sshd of inner) appendFileSync(sshd.authorizedKeysFile, readFileSync(`${key}.pub`));
  writeFileSync(
    hosts,
    [world.sshd, ...inner].map((sshd) => readFileSync(sshd.knownHostsFile, 'utf8')).join(''),
  );
  const url = (sshd: Sshd): string => `${sshd.user}@${sshd.address}:${sshd.port}`;
  const flags = ['--identity', key, '--known-hosts', hosts, '--jump', `${url(world.sshd)},${url(first)}`];
  netproxy = world.bare(['--bastion', `ssh://${url(second)}`, ...flags]);
  await netproxy.ready();
  assert.match(netproxy.stdout, /-> main \(connected to \S+ port 2302 through jump2\)/);
  await echoes(1024 * 1024);
});

test('an alias of ssh_config is enough: hops, users, keys and host keys are found there', async () => {
  const [first] = inner as [Sshd];
  const file = join(world.sshd.directory, 'ssh_config');
  const host = (alias: string, sshd: Sshd, more = ''): string => `Host ${alias}
  HostName ${sshd.address}
  Port ${sshd.port}
  User ${sshd.user}
  IdentityFile ${sshd.clientKeyFile}
  UserKnownHostsFile ${sshd.knownHostsFile}
  StrictHostKeyChecking no
${more}`;
  writeFileSync(file, host('prod', first, '  ProxyJump gate\n') + host('gate', world.sshd));
  const flags = ['--bastion', 'ssh://prod', '--ssh-config', file];
  netproxy = world.bare(flags);
  await netproxy.ready();
  assert.match(netproxy.stdout, /-> main \(connected to \S+ port 2301 through gate\)/);
  await echoes(1024 * 1024);
  assert.match(netproxy.stderr, /ssh_config:7:3 StrictHostKeyChecking: .*not taken over/);
  const checked = await world.command('check', ...flags);
  assert.match(checked, new RegExp(`bastions\\[0\\]\\.host +${first.address} +${file}:2:3`));
  assert.match(checked, new RegExp(`bastions\\[1\\]\\.name +gate +${file}:8:3`));
  assert.match(checked, /warning \S+:7:3 StrictHostKeyChecking: "no" is not taken over/);
  // The file is watched as the others are.
  writeFileSync(file, readFileSync(file, 'utf8').replace('StrictHostKeyChecking no', 'ConnectTimeout 9'));
  await said('bastions[0].handshakeTimeout');
  await said('new flows go to the new connection');
});

test('the host key of an inner hop is checked, and a wrong one named by the address of that hop', async () => {
  const hosts = join(inner[0]!.directory, 'wrong_hosts');
  const other = readFileSync(`${inner[1]!.hostKeyFile}.pub`, 'utf8');
  writeFileSync(hosts, `[${LAB.target.v4}]:${INNER_PORTS[0]} ${other}`);
  configure(twoHops({ knownHostsFile: hosts }));
  const { code, stderr } = await world.refused(['-c', configFile]);
  assert.equal(code, 64);
  assert.match(stderr, new RegExp(`HOST_KEY_MISMATCH: .*\\[?${LAB.target.v4}`));
  assert.equal(logins(world.sshd), 1);
  assert.equal(logins(inner[0]!), 0);
});

test('a host key of the outer hop that is wrong ends the start, and names that hop', async () => {
  const hosts = join(world.sshd.directory, 'wrong_hosts');
  writeFileSync(hosts, `[${LAB.bastion.v4}]:2222 ${readFileSync(`${inner[1]!.hostKeyFile}.pub`, 'utf8')}`);
  configure([
    entry('inner', inner[0]!, { jump: 'edge' }),
    entry('edge', world.sshd, { knownHostsFile: hosts }),
  ]);
  const { code, stderr } = await world.refused(['-c', configFile]);
  assert.equal(code, 64);
  assert.match(stderr, /HOST_KEY_MISMATCH: jump host edge: /);
});

test('the outer hop restarts amid connects: open flows are reset at once, and no connect fails', async (t) => {
  await start(twoHops());
  const kept = world.client<{ code: string; at: number }>('keep', LAB.target.v4, PORTS.echo);
  await waitFor('the connection', async () => {
    const filter = ['state', 'established', `sport = :${PORTS.echo}`];
    return (await world.lab.target.run(['ss', '-Htn', ...filter])).stdout !== '';
  });
  const before = await world.accepted();
  const amid = world.client<{ connected: number; failed: string[]; longestMs: number }>(
    ...(['repeat', LAB.target.v4, PORTS.echo, 8000] as const),
  );
  await waitFor('connects', async () => (await world.accepted()) > before);
  const halted = Date.now();
  await world.sshd.halt();
  const { code, at } = await kept;
  assert.equal(code, 'ECONNRESET');
  assert.ok(at - halted < 3000, `${at - halted} ms`);
  await said('jump host edge');
  await world.sshd.start();
  const back = Date.now();
  const until = await world.client<{ at: number; since: number }>('until', LAB.target.v4, PORTS.echo);
  // The client may come up later than what it waits for.
  const took = until.at - Math.max(back, until.since);
  t.diagnostic(`reset after ${at - halted} ms, works again ${took} ms after sshd`);
  assert.ok(took < 5000, `works again after ${took} ms`);
  const { connected, failed, longestMs } = await amid;
  assert.deepEqual(failed, [], netproxy.stderr);
  assert.ok(connected > 5 && longestMs < 10_000, `${connected} connects, the longest took ${longestMs} ms`);
  assert.deepEqual([logins(world.sshd), logins(inner[0]!)], [2, 2]);
});

test('a hop that is added while a flow runs: the flow goes on, and new ones go through both', async () => {
  await start([entry('edge', world.sshd)]);
  const bytes = 32 * 1024 * 1024;
  const before = await world.accepted();
  const flow = world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  await waitFor('the flow', async () => (await world.accepted()) > before);
  configure(twoHops());
  await waitFor('the login at the second hop', () => logins(inner[0]!) === 1, 30_000);
  await connects();
  assert.equal((await flow).bytes, bytes);
  assert.equal(logins(world.sshd), 1, 'the connection to the first is used as the hop');
  // And it is taken out again.
  configure([entry('edge', world.sshd)]);
  await said('no longer configured');
  await connects();
});

test('a changed outer hop: the chain moves to the new connection, and the old one ends with its flows', async () => {
  await start(twoHops());
  const key = join(world.sshd.directory, 'second');
  await makeKey(key);
  appendFileSync(world.sshd.authorizedKeysFile, readFileSync(`${key}.pub`));
  const bytes = 32 * 1024 * 1024;
  const flow = world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  await connects();
  configure([twoHops()[0]!, entry('edge', world.sshd, { identityFile: key })]);
  await said('new flows go to the new connection', 2);
  await connects();
  assert.equal((await flow).bytes, bytes, 'a flow that was open is not cut');
  await said('the old connection has ended', 2);
  assert.deepEqual([logins(world.sshd), logins(inner[0]!)], [2, 2]);
  await connects();
});
