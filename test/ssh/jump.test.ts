import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import type { TestContext } from 'node:test';
import { loadNative } from '../../src/core/native.ts';
import type { Bastion, BastionOptions } from '../../src/ssh/bastion.ts';
import { JumpHost } from '../../src/ssh/jump.ts';
import { KnownHosts } from '../../src/ssh/known-hosts.ts';
import { waitFor } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import {
  MIB,
  ManualSource,
  PatternSink,
  PatternSource,
  SlowSink,
  TextSink,
  arrived,
  bastionFor,
  listen,
  open,
  patternServer,
  release,
} from './harness.ts';
import type { PatternCheck } from './harness.ts';

const native = loadNative();

afterEach(release);

async function servers(t: TestContext, count: number, config: string[] = []): Promise<Sshd[]> {
  const started: Sshd[] = [];
  t.after(() => Promise.all(started.map((sshd) => sshd.stop())));
  for (let index = 0; index < count; index++) started.push(await startSshd({ config }));
  return started;
}

/** Bastions for the servers, each through the one before; started. */
function chain(sshds: readonly Sshd[], options: Partial<BastionOptions> = {}): Bastion[] {
  const bastions: Bastion[] = [];
  for (const [index, sshd] of sshds.entries()) {
    const outer = bastions.at(-1);
    const name = `hop${index + 1}`;
    const host = outer === undefined ? undefined : new JumpHost(`hop${index}`, outer);
    const bastion: Bastion = bastionFor(sshd, {
      name,
      onState: (status) => changed[index]?.(status.state === 'ready'),
      ...(host === undefined
        ? {}
        : {
            endpoints: () => host.reach(sshd.address, sshd.port),
            socketFactory: host.sockets(native),
            through: host.name,
          }),
      ...(index === sshds.length - 1 ? options : {}),
    });
    if (host !== undefined) {
      changed[index - 1] = (ready) => {
        host.changed();
        if (ready) bastion.wake();
      };
    }
    bastions.push(bastion);
  }
  for (const bastion of bastions) bastion.start();
  return bastions;
}
const changed: ((ready: boolean) => void)[] = [];
afterEach(() => void changed.splice(0));

async function hello(bastion: Bastion): Promise<void> {
  const target = await listen((socket) => socket.end('hello'));
  const source = new ManualSource();
  source.end();
  const sink = new TextSink();
  const { ended } = await open(bastion, target.endpoint, source, sink);
  assert.equal(await ended, 'finished');
  assert.equal(sink.text, 'hello');
}

for (const hops of [2, 3]) {
  test(`64 MiB go both ways at once through ${hops} hops, byte-exact`, async (t) => {
    const last = chain(await servers(t, hops)).at(-1)!;
    await last.whenReady();
    assert.match(last.status.reason, new RegExp(`through hop${hops - 1}$`));
    const total = 64 * MIB;
    const checks: PatternCheck[] = [];
    const target = await listen(patternServer(total, checks));
    const sink = new PatternSink();
    const started = performance.now();
    const { ended } = await open(last, target.endpoint, new PatternSource(total), sink);
    assert.equal(await ended, 'finished');
    t.diagnostic(`${Math.round((2 * 64_000) / (performance.now() - started))} MiB/s both ways together`);
    assert.deepEqual([sink.check.bytes, sink.check.wrongAt], [total, undefined]);
    await arrived(checks, total);
  });
}

test('keys of both hops change under load, and every byte arrives', async (t) => {
  const sshds = await servers(t, 2, ['RekeyLimit 4M', 'LogLevel DEBUG1']);
  const last = chain(sshds, { rekeyIntervalMs: 200 }).at(-1)!;
  await last.whenReady();
  const total = 64 * MIB;
  const checks: PatternCheck[] = [];
  const target = await listen(patternServer(total, checks));
  const sink = new PatternSink();
  const { ended } = await open(last, target.endpoint, new PatternSource(total), sink);
  assert.equal(await ended, 'finished');
  assert.deepEqual([sink.check.bytes, sink.check.wrongAt], [total, undefined]);
  await arrived(checks, total);
  for (const sshd of sshds) {
    const times = sshd.log().match(/SSH2_MSG_NEWKEYS received/g)?.length ?? 0;
    assert.ok(times > 10, `${times} times`);
  }
});

test('the host key of each hop is checked under its own name', async (t) => {
  const [first, second] = await servers(t, 2);
  const hostKey = readFileSync(`${first!.hostKeyFile}.pub`, 'utf8');
  const knownHosts = KnownHosts.parse(`second.test ${hostKey}`, 'known_hosts');
  const [outer, inner] = chain([first!, second!], { knownHosts, hostName: 'second.test', port: 22 });
  await outer!.whenReady();
  await assert.rejects(inner!.whenReady(), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'HOST_KEY_MISMATCH');
    assert.match(error.message, /^The host key of second\.test is not the known one/);
    return true;
  });
  assert.equal(outer!.status.state, 'ready');
});

test('what is wrong with the first hop for good is told by the second, with its name', async (t) => {
  const [first, second] = await servers(t, 2);
  const outer = bastionFor(first!, { knownHosts: KnownHosts.parse('', 'known_hosts'), persistent: true });
  const host = new JumpHost('edge', outer);
  const inner = bastionFor(second!, { endpoints: () => host.reach(second!.address, second!.port) });
  inner.start();
  outer.start();
  await waitFor('the verdict on the first hop', () => outer.status.fatal !== undefined);
  host.changed();
  await assert.rejects(inner.whenReady(), { code: 'HOST_KEY_UNKNOWN', message: /^jump host edge: No key/ });
});

test('the bastion resolves the name of the one behind it', async (t) => {
  const [first, second] = await servers(t, 2);
  const outer = bastionFor(first!);
  outer.start();
  await outer.whenReady();
  const host = new JumpHost('edge', outer);
  const inner = bastionFor(second!, {
    endpoints: () => host.reach('localhost', second!.port),
    socketFactory: host.sockets(native),
  });
  inner.start();
  await inner.whenReady();
  await hello(inner);
});

test('a failed hop is named, and tried again until it is there', async (t) => {
  const [first, second] = await servers(t, 2);
  await second!.halt();
  const [, inner] = chain([first!, second!]);
  await waitFor('the refusal', () => /^jump host hop1: .*refused/.test(inner!.status.reason));
  await second!.start();
  await hello(inner!);
});

test('the outer connection lost ends the inner one at once; both come back', async (t) => {
  const [first, second] = await servers(t, 2);
  const reasons: string[] = [];
  const silent = await listen(() => {});
  const [outer, inner] = chain([first!, second!]);
  await inner!.whenReady();
  const { ended } = await open(inner!, silent.endpoint, new ManualSource(), new TextSink());
  const note = changed[1];
  changed[1] = (ready) => {
    note?.(ready);
    reasons.push(inner!.status.reason);
  };
  first!.dropConnections();
  assert.equal(await ended, 'upstream-lost');
  await hello(inner!);
  assert.equal(outer!.status.state, 'ready');
  assert.equal(reasons[0], 'jump host hop1: its connection was lost');
});

test('the inner server gone is no matter of the outer one', async (t) => {
  const [first, second] = await servers(t, 2);
  const [outer, inner] = chain([first!, second!]);
  await inner!.whenReady();
  const silent = await listen(() => {});
  const { ended } = await open(inner!, silent.endpoint, new ManualSource(), new TextSink());
  await second!.halt();
  assert.equal(await ended, 'upstream-lost');
  await second!.start();
  await hello(inner!);
  assert.equal(outer!.status.state, 'ready');
});

test('an inner server that falls silent is noticed by keepalives', async (t) => {
  const [first, second] = await servers(t, 2);
  const [outer, inner] = chain([first!, second!], { keepAliveMs: 200, keepAliveMisses: 2 });
  await inner!.whenReady();
  const serving = [...readdirSync('/proc')].filter((name) => parentOf(name) === second!.pid).map(Number);
  assert.ok(serving.length > 0);
  for (const pid of serving) process.kill(pid, 'SIGSTOP');
  t.after(() => serving.forEach((pid) => resume(pid)));
  await waitFor('the verdict', () => inner!.status.reason === 'the bastion does not answer');
  assert.equal(outer!.status.state, 'ready');
});

test('a reader that stops holds the writer back through both hops', async (t) => {
  const last = chain(await servers(t, 2)).at(-1)!;
  await last.whenReady();
  let sent = 0;
  const target = await listen((socket) => {
    const fill = (): void => {
      while (socket.write(Buffer.alloc(64 * 1024), () => (sent += 64 * 1024)));
      socket.once('drain', fill);
    };
    fill();
  });
  const sink = new SlowSink();
  const { channel } = await open(last, target.endpoint, new ManualSource(), sink);
  let looked = { total: 0, at: performance.now() };
  await waitFor('the flow to stop', () => {
    if (sink.total !== looked.total) looked = { total: sink.total, at: performance.now() };
    return sink.total > MIB && performance.now() - looked.at > 1000;
  });
  assert.ok(sink.most < 16 * MIB, `${sink.most} bytes are queued`);
  const stood = sent;
  sink.read();
  channel.sinkDrained();
  await waitFor('the flow to go on', () => sent > stood);
});

test('nothing is left open when a chain is stopped', async (t) => {
  const sshds = await servers(t, 3);
  const before = readdirSync('/proc/self/fd').length;
  const bastions = chain(sshds);
  await bastions.at(-1)!.whenReady();
  await hello(bastions.at(-1)!);
  for (const bastion of bastions.toReversed()) await bastion.stop();
  await release();
  await waitFor('the descriptors to be closed', () => readdirSync('/proc/self/fd').length <= before);
});

function parentOf(pid: string): number | undefined {
  if (!/^\d+$/.test(pid)) return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function resume(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // It ended meanwhile.
  }
}
