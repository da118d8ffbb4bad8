/** Certificates and known_hosts that change under a running netproxy. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { makeKey } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

let folder: string;
let world: World;
let netproxy: Netproxy;
beforeEach(async () => {
  folder = mkdtempSync(join(os.tmpdir(), 'netproxy-renewal-'));
  await makeKey(join(folder, 'authority'));
  world = await World.create({ config: [`TrustedUserCAKeys ${join(folder, 'authority')}.pub`] });
});
afterEach(async () => {
  await world.close();
  rmSync(folder, { recursive: true });
});

const said = (words: string): Promise<boolean> =>
  waitFor(`the log to say ${words}`, () => netproxy.stderr.includes(words), 30_000);
const connects = async (): Promise<void> => {
  const answer = await world.client('connect', LAB.target.v4, PORTS.echo);
  assert.deepEqual(answer, { connected: true }, netproxy.stderr);
};

/** As careful programs write. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

async function start(identity: string, knownHosts: string): Promise<void> {
  const [bastion, url] = world.flags;
  netproxy = world.bare([bastion!, url!, '--identity', identity, '--known-hosts', knownHosts]);
  await netproxy.ready();
}

test('a certificate that is renewed is used for a new connection, and cuts no flow', async () => {
  const key = join(folder, 'key');
  await makeKey(key);
  const sign = (serial: number, validity: string): string => {
    const names = ['-I', 'netproxy-lab', '-n', world.sshd.user, '-z', String(serial), '-V', validity];
    execFileSync('ssh-keygen', ['-q', '-s', join(folder, 'authority'), ...names, `${key}.pub`]);
    return readFileSync(`${key}-cert.pub`, 'utf8');
  };
  const logins = (serial: number): number => world.sshd.log().split(`(serial ${serial})`).length - 1;
  sign(1, '+5m');
  await start(key, world.sshd.knownHostsFile);
  const bytes = 32 * 1024 * 1024;
  const flow = world.client<{ bytes: number }>('echo', LAB.target.v4, PORTS.echo, bytes);
  const certificate = `${key}-cert.pub`;
  copyFileSync(certificate, join(folder, 'old'));
  const renewed = sign(2, '+10m');
  copyFileSync(join(folder, 'old'), certificate);
  replace(certificate, renewed);
  await said('new flows go to the new connection');
  await connects();
  assert.equal((await flow).bytes, bytes);
  assert.ok(logins(1) > 0 && logins(2) > 0, world.sshd.log());
});

test('known_hosts without the host key in use resets its flows at once, and with it lets connects go on', async () => {
  const hosts = join(folder, 'known_hosts');
  const text = readFileSync(world.sshd.knownHostsFile, 'utf8');
  replace(hosts, text);
  await start(world.sshd.clientKeyFile, hosts);
  const kept = world.client<{ code: string; at: number }>('keep', LAB.target.v4, PORTS.echo);
  await waitFor('the flow', async () => {
    const filter = ['state', 'established', `sport = :${PORTS.echo}`];
    return (await world.lab.target.run(['ss', '-Htn', ...filter])).stdout !== '';
  });
  replace(hosts, `# of the same opinion\n${text}`);
  await said('new flows go to the new connection');
  await connects();
  await makeKey(join(folder, 'other'));
  const [names] = text.split(' ');
  const other = readFileSync(join(folder, 'other.pub'), 'utf8');
  const before = Date.now();
  replace(hosts, `${names} ${other}`);
  const { code, at } = await kept;
  assert.equal(code, 'ECONNRESET');
  assert.ok(at - before < 15_000, `${at - before} ms`);
  await said('no longer trusted');
  const waiting = world.client<{ connected?: boolean }>('connect', LAB.target.v4, PORTS.echo);
  replace(hosts, text);
  assert.deepEqual(await waiting, { connected: true }, netproxy.stderr);
});
