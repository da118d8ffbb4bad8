/** Netproxy's own traffic: it never goes into the tunnel, whatever the namespace looks like. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { LAB, countLeaks, createLab, waitFor } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { connectErrno } from './routes-lab.ts';
import { Netproxy } from './world.ts';

const main = path.resolve(import.meta.dirname, '../../dist/main.js');
const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-own-'));
const zone = path.join(directory, 'zone');
/** Behind the application's gateway, so that nothing of it is on the link. */
const FAR = LAB.bastion.far4;
const DEADLINE_MS = 20_000;

let lab: Lab;
let sshd: Sshd;
const started: Netproxy[] = [];

before(async () => {
  lab = await createLab();
  sshd = await startSshd({
    netns: lab.bastion.name,
    address: FAR,
    config: [`ListenAddress ${LAB.bastion.v4}`],
    names: ['bastion.test'],
  });
  writeFileSync(zone, `bastion.test A ${FAR}\n`);
  writeFileSync(path.join(directory, 'resolv.conf'), `nameserver ${FAR}\n`);
  const script = path.join(import.meta.dirname, 'name-server.ts');
  const server = lab.bastion.spawn([process.execPath, script, FAR, zone], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(server.stdout!, 'data');
  server.unref();
});

after(async () => {
  await Promise.all(started.map((netproxy) => netproxy.stop('SIGKILL')));
  await sshd.stop();
  await lab.cleanup();
  rmSync(directory, { recursive: true });
});

/** Starts netproxy with a bastion by its name, and a resolv.conf of its own. */
function start(host = 'bastion.test', ...flags: string[]): Netproxy {
  const script = `mount --bind ${directory}/resolv.conf /etc/resolv.conf && exec "$@"`;
  const { user, port, clientKeyFile, knownHostsFile } = sshd;
  const netproxy = new Netproxy(
    lab.app.spawn(
      [
        ...['unshare', '-m', 'sh', '-c', script, 'sh', process.execPath, main, 'run'],
        ...['--bastion', `ssh://${user}@${host}:${port}`, '--identity', clientKeyFile],
        ...['--known-hosts', knownHostsFile, ...flags],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    ),
  );
  started.push(netproxy);
  return netproxy;
}

async function release(): Promise<void> {
  await lab.app.run([process.execPath, main, 'release']);
}

/** The target refuses, which only somebody who reached it can tell. */
async function carries(): Promise<void> {
  await waitFor(
    'a connect through the bastion',
    async () => (await connectErrno(lab.app, LAB.target.v4, 3000)) === 'ECONNREFUSED',
    DEADLINE_MS,
  );
}

test('a bastion behind the gateway, by name: found, also when a killed predecessor left the namespace taken over', async () => {
  const first = start();
  await first.ready(DEADLINE_MS);
  await carries();
  await first.stop('SIGKILL');
  assert.equal(await connectErrno(lab.app, FAR, 500), 'ENETUNREACH');

  const second = start();
  // Nothing but the two own conversations may leave while it starts.
  const { count, lines } = await countLeaks(
    lab.app,
    'eth0',
    async () => {
      await second.ready(DEADLINE_MS);
      await carries();
    },
    `ip and not (host ${FAR} and (tcp port ${sshd.port} or udp port 53))`,
  );
  assert.equal(count, 0, lines.join('\n'));

  const { stdout } = await lab.app.run(['ss', '-tunaepH']);
  // What it listens on for the application leaves by no device.
  const own = stdout
    .split('\n')
    .filter((line) => line.includes(`pid=${second.child.pid},`) && !/ (127\.0\.0\.\d+|\[::1\]):/.test(line));
  assert.ok(own.length > 0, stdout);
  for (const line of own) assert.match(line, /fwmark:0x6e70/);
  assert.match(second.stderr, /self-test: own traffic leaves by the uplink, and no other/);
  await second.stop();
  await release();
});

test('a record that changes while the bastion is away, and a first address that is dead, are survived', async () => {
  const netproxy = start();
  await netproxy.ready(DEADLINE_MS);
  // The bastion moves: its old address swallows everything from now on.
  await lab.bastion.run([
    'nft',
    `add table ip moved; add chain ip moved in { type filter hook input priority 0; }; add rule ip moved in ip daddr ${FAR} tcp dport ${sshd.port} drop`,
  ]);
  writeFileSync(zone, `bastion.test A ${FAR}\nbastion.test A ${LAB.bastion.v4}\n`);
  sshd.dropConnections();
  await waitFor(
    'the other address',
    () => netproxy.stderr.includes(`connected to ${LAB.bastion.v4} port`),
    60_000,
  );
  await carries();
  await lab.bastion.run(['nft', 'delete table ip moved']);
  writeFileSync(zone, `bastion.test A ${FAR}\n`);
  await netproxy.stop();
  await release();
});

test('rules of others that lead own traffic into the tunnel, or other traffic past it, are refused', async () => {
  for (const [rule, code] of [
    ['pref 5 fwmark 0x6e70 lookup main', 'OWN_TRAFFIC_CAPTURED'],
    ['pref 12 lookup 28272', 'TRAFFIC_NOT_CAPTURED'],
  ]) {
    await lab.app.ip(`rule add ${rule}`);
    const netproxy = start();
    const [exit] = (await once(netproxy.child, 'close')) as [number];
    await lab.app.ip(`rule del ${rule}`);
    assert.equal(exit, 1, netproxy.stderr);
    assert.match(netproxy.stderr, new RegExp(`error ${code}: packets of `));
    assert.equal(netproxy.stdout, '');
    await release();
  }
});

test('somebody who takes the mark off its packets is found out, and it is never ready', async () => {
  await lab.app.run([
    'nft',
    `add table inet mesh; add chain inet mesh out { type route hook output priority -140; }; add rule inet mesh out ip daddr ${FAR} meta mark 0x6e70 meta mark set 0`,
  ]);
  // With the filter the packets would be refused before they come that far.
  await sshd.halt();
  const netproxy = start(FAR, '--layers', 'routes', '--handshake-timeout', '2s');
  // A connection that was made before the takeover would only be lost.
  await waitFor('the takeover', () => netproxy.stderr.includes('the namespace is taken over'), DEADLINE_MS);
  await sshd.start();
  await waitFor('the alarm', () => netproxy.stderr.includes('"TRAFFIC_LOOP"'), DEADLINE_MS);
  assert.match(netproxy.stderr, /own traffic to 198\.51\.100\.1:2222 came back by the TUN/);
  assert.equal(netproxy.stdout, '');
  await lab.app.run(['nft', 'delete table inet mesh']);
  // No connect waits, so that the wait under way may be the longest, SSH_RECONNECT_LAST_MS.
  await netproxy.ready(60_000);
  await netproxy.stop();
  await release();
});
