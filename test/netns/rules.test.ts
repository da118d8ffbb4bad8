/** Rules end to end: what the application sees of each verdict, and which way its bytes go. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

let world: World;
let second: Sshd;
let netproxy: Netproxy;
let configFile: string;

const entry = (name: string, sshd: Sshd): string =>
  `  - { name: ${name}, host: ${LAB.bastion.v4}, port: ${sshd.port}, user: ${sshd.user}, identityFile: ${sshd.clientKeyFile}, knownHostsFile: ${sshd.knownHostsFile} }`;

function configure(...rules: readonly string[]): void {
  const bastions = [entry('one', world.sshd), entry('two', second)].join('\n');
  const text = `bastions:\n${bastions}\ngroups: [{ name: last, bastions: [one] }]\nlog: { level: debug }\nrules:\n${rules.map((rule) => `  - { ${rule} }\n`).join('')}`;
  writeFileSync(`${configFile}.new`, text);
  renameSync(`${configFile}.new`, configFile);
}

/** The line of the log about the latest flow to there. */
async function logged(
  address: string,
  port: number,
  isMeant: (line: Record<string, unknown>) => boolean = () => true,
): Promise<Record<string, unknown>> {
  const to = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const last = (): Record<string, unknown> | undefined => {
    const line = netproxy.stderr
      .split('\n')
      .slice(0, -1)
      .findLast((line) => line.includes(`"to":"${to}"`));
    return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>);
  };
  // A flow's line may come after its application has ended.
  return waitFor(`the log of a flow to ${to}`, () => {
    const line = last();
    return line !== undefined && isMeant(line) ? line : undefined;
  });
}

const connect = (
  address: string,
  port: number,
  amount = 0,
): Promise<{ code?: string; connected?: true; ms?: number }> =>
  world.client('connect', address, port, amount);

before(async () => {
  world = await World.create();
  second = await startSshd({ netns: world.lab.bastion.name, address: LAB.bastion.v4, port: 2223 });
  configFile = join(world.sshd.directory, 'netproxy.yaml');
  // Servers that are reached directly: the far side of the bastion's machine, which the uplink leads to.
  world.lab.bastion
    .spawn([process.execPath, join(import.meta.dirname, 'target.ts')], { stdio: 'ignore' })
    .unref();
  await waitForPort(world.lab.bastion, PORTS.echo);
  configure(
    `to: [${LAB.target.v4}], ports: [${PORTS.echo}], via: two`,
    `to: [${LAB.bastion.far4}], ports: [${PORTS.echo}, ${PORTS.closed}], via: direct`,
    `to: [${LAB.target.v6}], via: reject`,
    `to: [${LAB.target.v4}], ports: [${PORTS.download}], via: "reject:prohibited"`,
    `ports: [7777], via: drop`,
    `uid: 4711, via: reject`,
    `process: [nobody-has-this], via: drop`,
  );
  netproxy = world.bare(['-c', configFile]);
  await netproxy.ready(30_000);
});
after(async () => {
  await netproxy?.stop('SIGKILL');
  await second?.stop();
  await world?.close();
});

test('a rule names the bastion, and the last resort takes what no rule does', async () => {
  const bytes = 1024 * 1024;
  const one = await world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  assert.equal(one.bytes, bytes);
  const line = await logged(LAB.target.v4, PORTS.echo);
  assert.equal(line['verdict'], 'two');
  assert.equal(line['rule'], `${configFile}:7 to ${LAB.target.v4}/32, ports ${PORTS.echo}, via two`);
  assert.equal(line['because'], `to ${LAB.target.v4}, port ${PORTS.echo}`);
  assert.deepEqual(await connect(LAB.target.v4, PORTS.last), { connected: true });
  const other = await logged(LAB.target.v4, PORTS.last);
  assert.deepEqual([other['verdict'], other['rule']], ['last', 'the last resort']);
});

test('a direct flow echoes every byte both ways, and a closed port is refused', async () => {
  const bytes = 8 * 1024 * 1024;
  const echo = await world.client<{ bytes: number }>('echo', LAB.bastion.far4, PORTS.echo, bytes);
  assert.equal(echo.bytes, bytes, netproxy.stderr);
  assert.equal((await logged(LAB.bastion.far4, PORTS.echo))['verdict'], 'direct');
  assert.equal((await connect(LAB.bastion.far4, PORTS.closed)).code, 'ECONNREFUSED');
});

test('what is rejected is seen at once', async () => {
  assert.equal((await connect(LAB.target.v6, PORTS.echo)).code, 'ECONNREFUSED');
  assert.equal((await connect(LAB.target.v4, PORTS.download)).code, 'EHOSTUNREACH');
});

test('what is dropped is not answered, and leaves nothing behind', async () => {
  const script = `require('net').connect(7777, '${LAB.target.v4}').on('error', (e) => console.log(e.code))`;
  const child = world.lab.app.spawn([process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  child.stdout!.on('data', (data: Buffer) => (said += String(data)));
  // The SYN is sent again after a second, which is a new flow to netproxy, and dropped like the first.
  const drops = (): number => netproxy.stderr.split('flow dropped: by rule').length - 1;
  await waitFor('two drops', () => drops() >= 2, 20_000);
  assert.equal(said, '');
  child.kill('SIGKILL');
});

test('a rule asks for the user that opened the flow', async () => {
  const script = `require('net').connect(${PORTS.last}, '${LAB.target.v4}').on('connect', () => { console.log('connected'); process.exit(); }).on('error', (e) => console.log(e.code))`;
  const as = async (...before: string[]): Promise<string> =>
    (await world.lab.app.run([...before, process.execPath, '-e', script])).stdout.trim();
  assert.equal(await as('setpriv', '--reuid=4711', '--clear-groups'), 'ECONNREFUSED', netproxy.stderr);
  assert.equal(await as(), 'connected');
  // A rule has asked for the process too, so that the log knows it.
  const { pid, process: name } = await logged(LAB.target.v4, PORTS.last, ({ uid }) => uid === 0);
  assert.deepEqual([typeof pid, typeof name], ['number', 'string']);
});

test('other rules hold for new flows, and open ones go on', async () => {
  const bytes = 32 * 1024 * 1024;
  const before_ = await world.accepted();
  const flow = world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  await waitFor('the flow', async () => (await world.accepted()) > before_);
  configure(`to: [${LAB.target.v4}], ports: [${PORTS.last}], via: reject`);
  await waitFor('the reload', () => netproxy.stderr.includes('"changed":["rules"]'), 20_000);
  await waitFor(
    'the new rules',
    async () => (await connect(LAB.target.v4, PORTS.last)).code === 'ECONNREFUSED',
    20_000,
  );
  assert.equal((await flow).bytes, bytes);
  assert.deepEqual(await connect(LAB.target.v6, PORTS.echo), { connected: true });
});
