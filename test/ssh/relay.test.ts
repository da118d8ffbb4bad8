/** The UDP relay on a real sshd: each interpreter, what it cannot have, and what it leaves behind. */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import type { EchoRequest } from '../../src/core/datagram.ts';
import { RELAY_QUEUE_BYTES } from '../../src/core/limits.ts';
import type { Bastion } from '../../src/ssh/bastion.ts';
import { waitFor } from '../lab/namespaces.ts';
import { connected, release } from './harness.ts';
import { AppFlow, processesOf, relayBy, serverWith, udpServer } from './relay-lab.ts';
import type { RelayLab, Tools } from './relay-lab.ts';

after(release);

const FLOODS = 4;
/** Milliseconds. Long after the last datagram of a flood has come or was dropped. */
const FLOOD_MS = 10_000;

/** Runs `body` with a relay on a server of its own; nothing may be left of it afterwards. */
async function withRelay(
  tools: Tools,
  body: (lab: RelayLab & { readonly bastion: Bastion; readonly mark: string }) => Promise<void>,
  config: readonly string[] = [],
  authorizedOptions = '',
): Promise<void> {
  const sshd = await serverWith(tools, { config });
  const keys = readFileSync(sshd.authorizedKeysFile, 'utf8');
  if (authorizedOptions !== '') writeFileSync(sshd.authorizedKeysFile, `${authorizedOptions} ${keys}`);
  try {
    const bastion = await connected(sshd);
    const lab = relayBy(bastion);
    await body({ ...lab, bastion, mark: sshd.mark });
    lab.relay.stop();
    await waitFor('the end of all processes', () => processesOf(sshd.mark).length === 0);
    await bastion.stop();
  } finally {
    await sshd.stop();
  }
}

for (const [tools, interpreter] of [
  ['all', 'python3'],
  ['perl', 'perl'],
] as const) {
  describe(`by ${interpreter}`, () => {
    for (const address of ['127.0.0.1', '::1']) {
      test(`datagrams go there and come back (${address})`, async () => {
        await withRelay(tools, async ({ relay, log }) => {
          const server = await udpServer(address);
          const flows = Array.from({ length: 20 }, () => new AppFlow(relay, server));
          await Promise.all(flows.map((flow, index) => flow.echo(`question ${index}`)));
          for (const flow of flows) assert.ok(flow.received.datagrams <= flow.said);
          // Each has a socket of its own, empty datagrams are datagrams, and large ones come whole.
          flows[0]!.say('');
          await waitFor('an empty datagram', () => flows[0]!.got.some(({ length }) => length === 0));
          const large = Buffer.alloc(60_000, 7);
          flows[0]!.say(large, false);
          await waitFor('a large datagram', () => flows[0]!.got.some((got) => got.equals(large)));
          assert.equal(relay.counters.interpreter, interpreter);
          assert.equal(log.lines.filter((line) => line.includes('the UDP relay runs')).length, 1);
          server.close();
        });
      });

      test(`a port where nobody listens is refused (${address})`, async () => {
        await withRelay(tools, async ({ relay }) => {
          const server = await udpServer(address);
          server.close();
          const flow = new AppFlow(relay, server);
          flow.say('anybody?');
          await waitFor('the refusal', () => flow.refusals.length > 0);
          assert.deepEqual(flow.refusals, ['refused']);
          // The socket goes on: somebody may listen later.
          flow.say('now?');
          await waitFor('the second refusal', () => flow.refusals.length > 1);
        });
      });
    }

    test('flows beyond what the server has room for take the place of the one used longest ago', async () => {
      await withRelay(tools, async ({ relay }) => {
        const server = await udpServer();
        const flows = Array.from({ length: 2500 }, () => new AppFlow(relay, server));
        for (let at = 0; at < flows.length; at += 50) {
          await Promise.all(flows.slice(at, at + 50).map((flow, index) => flow.echo(`${at + index}`)));
        }
        await flows[0]!.echo('again');
        server.close();
      });
    });

    test('what an overloaded relay cannot take in time is dropped, oldest first, and counted', async () => {
      await withRelay(tools, async ({ relay }) => {
        const server = await udpServer();
        const flow = new AppFlow(relay, server);
        await flow.echo('up');
        const size = 1000;
        const all = (4 * RELAY_QUEUE_BYTES) / size;
        const last = Math.ceil(all) - 1;
        const isLast = (got: Buffer): boolean => got.length === size && got.readUInt32BE() === last;
        let dropped = 0;
        // Who stands still for RELAY_AGE_MS drops the last one as well, and rightly.
        for (let floods = 0; !server.got.some(isLast); floods++) {
          assert.ok(floods < FLOODS, 'the last datagram of each flood is lost');
          const before = relay.counters.dropped;
          for (let index = 0; index < all; index++) {
            const payload = Buffer.alloc(size);
            payload.writeUInt32BE(index);
            flow.say(payload);
          }
          await waitFor('the last datagram', () => server.got.some(isLast), FLOOD_MS).catch(() => {});
          dropped = relay.counters.dropped - before;
        }
        assert.ok(dropped >= 0.7 * all && dropped < all, `${dropped} of ${all}`);
        server.close();
      });
    });

    test('the relay follows the connection, and so do its flows', async () => {
      const sshd = await serverWith(tools);
      const bastion = await connected(sshd);
      const { relay } = relayBy(bastion);
      const server = await udpServer();
      const flow = new AppFlow(relay, server);
      await flow.echo('before');
      await sshd.restart();
      await waitFor('the relay to come back', () => relay.counters.starts === 2);
      await flow.echo('after');
      assert.deepEqual(flow.refusals, []);
      server.close();
      await bastion.stop();
      await waitFor('the end of all processes', () => processesOf(sshd.mark).length === 0);
      await sshd.stop();
    });

    test('the relay ends when its connection is cut without a word', async () => {
      const sshd = await serverWith(tools);
      const bastion = await connected(sshd);
      const { relay } = relayBy(bastion);
      const server = await udpServer();
      await new AppFlow(relay, server).echo('up');
      await waitFor('the relay alone', () => processesOf(sshd.mark).length === 1);
      relay.stop = () => {};
      bastion.cut(new Error('cut'));
      await bastion.stop();
      await waitFor('the end of all processes', () => processesOf(sshd.mark).length === 0);
      server.close();
      await sshd.stop();
    });
  });
}

function ping(destination: string): EchoRequest & { readonly told: string[] } {
  const told: string[] = [];
  return {
    protocol: 'echo',
    family: destination.includes(':') ? 6 : 4,
    whole: false,
    identifier: 7,
    source: '198.18.0.1',
    destination,
    payload: Buffer.from('are you there?'),
    answer: (payload) => void told.push(`answer ${Buffer.from(payload).toString()}`),
    refuse: (reason) => void told.push(`refuse ${reason}`),
    tooBig: (mtu) => void told.push(`too big ${mtu}`),
    told,
  };
}

test('pings go through the relay, or another way where the server forbids them', async () => {
  for (const tools of ['all', 'perl'] as const) {
    await withRelay(tools, async ({ relay, otherwise }) => {
      const request = ping('127.0.0.1');
      relay.ping(request);
      await waitFor('an answer', () => request.told.length + otherwise.length > 0);
      const range = readFileSync('/proc/sys/net/ipv4/ping_group_range', 'utf8').split(/\s+/).map(Number);
      const allowed = range[0]! <= process.getgid!() && process.getgid!() <= range[1]!;
      if (allowed) assert.deepEqual(request.told, ['answer are you there?']);
      else assert.deepEqual(otherwise, [request]);
    });
  }
});

const REFUSED: readonly (readonly [string, Tools, readonly string[], string, RegExp])[] = [
  ['a server without an interpreter', 'none', [], '', /python3: exit status 127.*perl: exit status 127/],
  ['a command of the server in the place of ours', 'all', ['ForceCommand /bin/false'], '', /exit status 1/],
  ['a command that sends our own text back', 'all', ['ForceCommand /bin/cat'], '', /python3: .*AGE, QUEUE/],
  ['a command that the key is bound to', 'all', [], 'command="/bin/true"', /exit status 0/],
  ['a server that allows no sessions', 'all', ['MaxSessions 0'], '', /does not run commands/],
];

for (const [what, tools, config, options, why] of REFUSED) {
  test(`UDP is refused at once by ${what}, and the log says why`, async () => {
    await withRelay(
      tools,
      async ({ relay, log, otherwise }) => {
        const flow = new AppFlow(relay, { address: '127.0.0.1', port: 9 });
        flow.say('hello?');
        await waitFor('the refusal', () => flow.refusals.length > 0);
        assert.deepEqual(flow.refusals, ['refused']);
        const warnings = log.lines.filter((line) => line.startsWith('warn'));
        assert.equal(warnings.length, 1);
        assert.match(warnings[0]!, why);
        // Not asked again for each datagram.
        flow.say('hello?');
        assert.deepEqual(flow.refusals, ['refused', 'refused']);
        assert.equal(relay.counters.state, 'refused');
        const request = ping('127.0.0.1');
        relay.ping(request);
        assert.deepEqual([otherwise, request.told], [[request], []]);
      },
      config,
      options,
    );
  });
}

test('what a login shell prints before the relay speaks is skipped', async () => {
  const sshd = await serverWith('all', { start: false });
  await sshd.halt();
  const greeting = `${sshd.directory}/greeting`;
  writeFileSync(greeting, '#!/bin/sh\necho Welcome\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n', {
    mode: 0o755,
  });
  appendFileSync(sshd.configFile, `ForceCommand ${greeting}\n`);
  await sshd.start();
  const bastion = await connected(sshd);
  const { relay } = relayBy(bastion);
  const server = await udpServer();
  await new AppFlow(relay, server).echo('heard');
  server.close();
  relay.stop();
  await bastion.stop();
  await sshd.stop();
});
