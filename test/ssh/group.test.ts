/** A group of two bastions, each a real server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { BastionOptions } from '../../src/ssh/bastion.ts';
import type { ChoicePolicy } from '../../src/ssh/choice.ts';
import { Group } from '../../src/ssh/group.ts';
import { readIdentity } from '../../src/ssh/identity.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { keyLogin } from '../../src/ssh/login.ts';
import { Succession } from '../../src/ssh/succession.ts';
import { waitFor } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd, SshdOptions } from '../lab/sshd.ts';
import { connectPlain, failureOf, listen, LogLines, ManualSource, open, TextSink } from './harness.ts';
import type { Target } from './harness.ts';

interface Lab {
  readonly group: Group;
  readonly servers: readonly Sshd[];
  readonly members: readonly Succession[];
  readonly target: Target;
  readonly log: LogLines;
}

/** Two servers, and a group of them that is connected to those that are up. */
async function lab(
  t: TestContext,
  policy: ChoicePolicy,
  servers: readonly SshdOptions[] = [{}, {}],
  holdMs = 10_000,
): Promise<Lab> {
  const target = await listen((socket) => void socket.write('hello'));
  t.after(() => target.close());
  const log = new LogLines();
  const group = new Group({ name: 'both', log, now: () => performance.now() });
  const running: Sshd[] = [];
  const members: Succession[] = [];
  for (const options of servers) {
    const sshd = await startSshd(options);
    t.after(() => sshd.stop());
    running.push(sshd);
    const bastion: BastionOptions = {
      name: `bastion${running.length}`,
      endpoints: () => [{ address: sshd.address, port: sshd.port }],
      hostName: sshd.address,
      port: sshd.port,
      user: sshd.user,
      login: keyLogin(readIdentity(sshd.clientKeyFile)),
      knownHosts: KnownHosts.read(sshd.knownHostsFile),
      socketFactory: connectPlain,
      log,
      connectHoldMs: holdMs,
      onState: (status) => group.changed(status),
    };
    const member = new Succession(bastion);
    t.after(() => member.stop());
    members.push(member);
  }
  group.set(policy, members, holdMs);
  t.after(() => group.stop());
  for (const [index, member] of members.entries()) {
    member.start();
    if (servers[index]?.start !== false) await member.whenReady();
  }
  return { group, servers: running, members, target, log };
}

async function converse({ group, target }: Lab): Promise<void> {
  const sink = new TextSink();
  await open(group, target.endpoint, new ManualSource(), sink);
  await sink.until(({ text }) => text === 'hello');
}

/** Channels of each member; one more while the login's own is open. */
const sizes = ({ members }: Lab): number[] => members.map(({ size }) => size);
const sizesAre = async (it: Lab, ...wanted: number[]): Promise<void> => {
  await waitFor('the login to be over', () => sizes(it).join() === wanted.join()).catch(() => {});
  assert.deepEqual(sizes(it), wanted);
};

test('round-robin opens on each in turn', async (t) => {
  const it = await lab(t, 'round-robin');
  for (let i = 0; i < 6; i++) await converse(it);
  await sizesAre(it, 3, 3);
});

test('failover opens on the first; dials that it has not answered when it dies are opened on the second', async (t) => {
  const it = await lab(t, 'failover');
  await converse(it);
  await sizesAre(it, 1, 0);
  const underWay = Array.from({ length: 20 }, async () => converse(it));
  await it.servers[0]!.halt();
  await Promise.all(underWay);
  await waitFor('the loss', () => !it.members[0]!.ready);
  await converse(it);
  assert.ok(it.members[1]!.size >= 1);
  assert.ok(
    it.log.lines.some((line) => line.includes('go to bastion2')),
    it.log.lines.join('\n'),
  );
});

test('round trips are measured by keepalives', async (t) => {
  const it = await lab(t, 'least-latency');
  await waitFor('the first', () => it.members.every(({ roundTripMs }) => roundTripMs !== undefined));
  for (const { roundTripMs } of it.members) assert.ok(roundTripMs! > 0 && roundTripMs! < 5000);
});

test('what the rules of one bastion forbid is tried on the other, and what the target refuses is not', async (t) => {
  const it = await lab(t, 'failover', [{ config: ['AllowTcpForwarding no'] }, {}]);
  await converse(it);
  await converse(it);
  await sizesAre(it, 0, 2);
  const both = await lab(t, 'failover', [
    { config: ['AllowTcpForwarding no'] },
    { config: ['AllowTcpForwarding no'] },
  ]);
  assert.equal((await failureOf(both.group, both.target.endpoint)).reason, 'prohibited');
  const closed = await listen(() => {});
  await closed.close();
  assert.equal((await failureOf(it.group, closed.endpoint)).reason, 'refused');
});

test('dials wait while no bastion is there, go to whichever comes, and end with host-unreachable', async (t) => {
  const it = await lab(t, 'failover', [{ start: false }, { start: false }], 1000);
  const { reason, message } = await failureOf(it.group, it.target.endpoint);
  assert.equal(reason, 'host-unreachable');
  assert.match(message, /no bastion of the group is connected: bastion1: .*; bastion2: /);
  it.group.set('failover', it.members, 60_000);
  const waiting = converse(it);
  await it.servers[1]!.start();
  await waiting;
  await sizesAre(it, 0, 1);
});

test('a group that is given up hands its dials on', async (t) => {
  const it = await lab(t, 'failover', [{ start: false }, {}]);
  const gone = new Group({ name: 'gone', log: it.log, now: () => performance.now() });
  gone.set('failover', [it.members[0]!], 60_000);
  const sink = new TextSink();
  const opening = open(gone, it.target.endpoint, new ManualSource(), sink);
  gone.retire(it.group);
  await opening;
  await sink.until(({ text }) => text === 'hello');
  await sizesAre(it, 0, 1);
});
