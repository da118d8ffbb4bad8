/** Where the UDP relay runs when bastions change: after a reload, in a group, and behind another bastion. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { TestContext } from 'node:test';
import { loadNative } from '../../src/core/native.ts';
import type { BastionOptions } from '../../src/ssh/bastion.ts';
import { Group } from '../../src/ssh/group.ts';
import { JumpHost } from '../../src/ssh/jump.ts';
import { Succession } from '../../src/ssh/succession.ts';
import { waitFor } from '../lab/namespaces.ts';
import type { Sshd, SshdOptions } from '../lab/sshd.ts';
import { LogLines, optionsFor, release } from './harness.ts';
import { AppFlow, processesOf, relayBy, serverWith, udpServer } from './relay-lab.ts';

after(release);

type Server = Sshd & { readonly mark: string };

async function server(t: TestContext, options: SshdOptions = {}): Promise<Server> {
  const sshd = await serverWith('all', options);
  t.after(() => sshd.stop());
  return sshd;
}

function started(t: TestContext, options: BastionOptions): Succession {
  const succession = new Succession(options);
  t.after(() => succession.stop());
  succession.start();
  return succession;
}

/** Waits until that many programs run there. */
async function programs(sshd: Server, count: number): Promise<void> {
  await waitFor(`${count} programs`, () => processesOf(sshd.mark).length === count);
}

async function ended(log: LogLines): Promise<void> {
  await waitFor('the end of the old connection', () =>
    log.lines.some((line) => line.includes('the old connection has ended')),
  );
}

const gone = (sshd: Server): Promise<void> => programs(sshd, 0);

test('after a reload the relay and its flows move to the new connection, and the old one ends', async (t) => {
  const sshd = await server(t);
  const log = new LogLines();
  const succession = started(t, optionsFor(sshd, { log }));
  await succession.whenReady();
  const { relay, log: told } = relayBy(succession);
  const far = await udpServer();
  const flows = [new AppFlow(relay, far), new AppFlow(relay, far)];
  for (const flow of flows) await flow.echo('before');
  succession.replace(optionsFor(sshd, { log }), false);
  await waitFor('the relay to move', () => relay.counters.starts === 2);
  for (const flow of flows) {
    await flow.echo('after');
    assert.deepEqual(flow.refusals, []);
  }
  await ended(log);
  await programs(sshd, 1);
  // One that nobody uses moves nowhere, and nobody is told that UDP is refused.
  for (const flow of flows) flow.close();
  succession.replace(optionsFor(sshd, { log }), false);
  await gone(sshd);
  assert.deepEqual([relay.counters.starts, relay.counters.state], [2, 'off']);
  await new AppFlow(relay, far).echo('later');
  assert.deepEqual(
    told.lines.filter((line) => line.startsWith('warn')),
    [],
  );
  relay.stop();
  await gone(sshd);
  far.close();
});

test('a relay that is still starting moves too', async (t) => {
  const sshd = await serverWith('none');
  t.after(() => sshd.stop());
  const go = join(sshd.directory, 'go');
  const slow = `#!/bin/sh\nwhile [ ! -e ${go} ]; do /bin/sleep 0.05; done\nexec /usr/bin/python3 "$@"\n`;
  writeFileSync(join(sshd.directory, 'bin', 'python3'), slow, { mode: 0o755 });
  const log = new LogLines();
  const succession = started(t, optionsFor(sshd, { log }));
  await succession.whenReady();
  const { relay } = relayBy(succession);
  const far = await udpServer();
  const flow = new AppFlow(relay, far);
  flow.say('early');
  await waitFor('the interpreter', () => processesOf(sshd.mark).some((line) => line.includes('python3')));
  succession.replace(optionsFor(sshd, { log }), false);
  await waitFor('the new connection', () =>
    log.lines.some((line) => line.includes('new flows go to the new connection')),
  );
  writeFileSync(go, '');
  await waitFor('the answer', () => flow.got.some((got) => got.toString() === 'early'));
  assert.deepEqual([relay.counters.starts, flow.refusals], [1, []]);
  await ended(log);
  await programs(sshd, 1);
  relay.stop();
  await gone(sshd);
  far.close();
});

/** A group of two servers, the first preferred; both connected. */
async function group(
  t: TestContext,
  ...servers: readonly Server[]
): Promise<{ group: Group; members: readonly Succession[] }> {
  const both = new Group({ name: 'both', log: new LogLines(), now: () => performance.now() });
  const members = servers.map((sshd, index) =>
    started(t, optionsFor(sshd, { name: `bastion${index}`, onState: (status) => both.changed(status) })),
  );
  both.set('failover', members, 10_000);
  t.after(() => both.stop());
  for (const member of members) await member.whenReady();
  return { group: both, members };
}

test('in a group, the relay runs on the bastion in use, and on the other one when that dies', async (t) => {
  const servers = [await server(t), await server(t)] as const;
  const { group: both } = await group(t, ...servers);
  const { relay, log } = relayBy(both);
  const far = await udpServer();
  const flow = new AppFlow(relay, far);
  assert.equal(flow.bastion, undefined);
  await flow.echo('by the first');
  assert.equal(flow.bastion, 'bastion0');
  await programs(servers[0], 1);
  await programs(servers[1], 0);
  await servers[0].halt();
  await waitFor('the other relay', () => relay.counters.starts === 2);
  await flow.echo('by the second');
  assert.equal(flow.bastion, 'bastion1');
  assert.deepEqual(flow.refusals, [], log.lines.join('\n'));
  await gone(servers[0]);
  await programs(servers[1], 1);
  relay.stop();
  await gone(servers[1]);
  far.close();
});

test('in a group, a bastion that runs no commands leaves the relay to another one', async (t) => {
  const servers = [await server(t, { config: ['MaxSessions 0'] }), await server(t)] as const;
  const { group: both } = await group(t, ...servers);
  const { relay } = relayBy(both);
  const far = await udpServer();
  const flow = new AppFlow(relay, far);
  await flow.echo('by the second');
  assert.equal(flow.bastion, 'bastion1');
  assert.deepEqual(flow.refusals, []);
  await programs(servers[1], 1);
  relay.stop();
  await gone(servers[1]);
  far.close();
});

test('behind another bastion, the relay runs on the last one, and follows when the way changes', async (t) => {
  const [outerServer, innerServer] = [await server(t), await server(t)];
  const changed: (() => void)[] = [];
  const outer = started(t, optionsFor(outerServer, { onState: () => changed.forEach((tell) => tell()) }));
  const host = new JumpHost('outer', outer);
  const { address, port } = innerServer;
  const inner = started(
    t,
    optionsFor(innerServer, {
      endpoints: () => host.reach(address, port),
      socketFactory: host.sockets(loadNative()),
      through: 'outer',
    }),
  );
  changed.push(() => {
    host.changed();
    inner.wake();
  });
  await inner.whenReady();
  const { relay } = relayBy(inner);
  const far = await udpServer();
  const flow = new AppFlow(relay, far);
  await flow.echo('behind');
  await programs(outerServer, 0);
  await programs(innerServer, 1);
  await outerServer.restart();
  await waitFor('the relay to come back', () => relay.counters.starts === 2);
  await flow.echo('again');
  assert.deepEqual(flow.refusals, []);
  relay.stop();
  await gone(innerServer);
  far.close();
});
