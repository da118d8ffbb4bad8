/** DNS by UDP, ping, and what other UDP is told. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, test } from 'node:test';
import { LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const COMMAND_DEADLINE_MS = 15_000;
const LONG_ANSWERS = 8;

let world: World;
let netproxy: Netproxy;
let dnsmasq: ChildProcess;
before(async () => {
  world = await World.create();
  const long = Array.from({ length: LONG_ANSWERS }, (_, i) => `--txt-record=long.test,${`${i}`.repeat(200)}`);
  dnsmasq = world.lab.target.spawn(
    [
      'dnsmasq',
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--no-resolv',
      '--no-hosts',
      '--user=root',
      '--pid-file=',
      '--address=/name.test/192.0.2.99',
      ...long,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await waitForPort(world.lab.target, 53);
  netproxy = world.bare([...world.flags, '--log-level', 'warn']);
  await netproxy.ready();
});
after(async () => {
  await netproxy.stop();
  dnsmasq.kill();
  await world.close();
});

async function run(...command: string[]): Promise<{ code: number | null; stdout: string; ms: number }> {
  const started = performance.now();
  const done = await world.lab.app.run(command, { mayFail: true, timeoutMs: COMMAND_DEADLINE_MS });
  return { code: done.code, stdout: done.stdout + done.stderr, ms: performance.now() - started };
}

/** What the running netproxy tells when it is asked. */
async function counters(): Promise<Record<string, number>> {
  const before = netproxy.stderr.length;
  netproxy.child.kill('SIGUSR2');
  const line = await waitFor('the state', () => {
    const whole = netproxy.stderr.slice(before).split('\n').slice(0, -1);
    return whole.find((text) => text.includes('"msg":"state"'));
  });
  return JSON.parse(line) as Record<string, number>;
}

/** Python: a question for name.test, padded to `size` bytes (RFC 7830). */
const QUESTION = `import socket, struct, sys
def question(id, size):
    head = struct.pack('>6H', id, 0x0100, 1, 0, 0, 1) + b'\\4name\\4test\\0' + struct.pack('>2H', 1, 1)
    pad = size - len(head) - 15
    return head + b'\\0' + struct.pack('>2HIH', 41, 4096, 0, pad + 4) + struct.pack('>2H', 12, pad) + bytes(pad)
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 53)); s.settimeout(5)
`;

for (const family of ['v4', 'v6'] as const) {
  const server = LAB.target[family];

  test(`a question by UDP and one by TCP are answered (${family})`, async () => {
    for (const by of ['+notcp', '+tcp']) {
      const { stdout } = await run('dig', '+short', by, '+tries=1', `@${server}`, 'name.test');
      assert.equal(stdout.trim(), '192.0.2.99');
    }
  });

  test(`an answer too long for UDP is cut, and comes whole by TCP (${family})`, async () => {
    const cut = await run('dig', '+noedns', '+ignore', `@${server}`, 'long.test', 'TXT');
    assert.match(cut.stdout, /flags: qr[^;]* tc[^;]* ra/);
    // Two of 200 bytes are what 512 have room for (RFC 1035, 4.2.1).
    assert.match(cut.stdout, /ANSWER: 2/);
    const whole = await run('dig', '+noedns', '+short', `@${server}`, 'long.test', 'TXT');
    assert.equal(whole.stdout.match(/^"/gm)?.length, LONG_ANSWERS);
    const large = await run('dig', '+bufsize=4096', '+ignore', `@${server}`, 'long.test', 'TXT');
    assert.match(large.stdout, /ANSWER: 8/);
  });

  test(`where no resolver is, the answer is SERVFAIL (${family})`, async () => {
    const { stdout, ms } = await run(
      'dig',
      '+tries=1',
      `@${LAB.bastion[family === 'v4' ? 'far4' : 'far6']}`,
      'a.test',
    );
    assert.match(stdout, /SERVFAIL/);
    assert.ok(ms < 5000, `took ${ms} ms`);
  });

  test(`a ping is answered when the host is there (${family})`, async () => {
    const there = await run('ping', '-c1', server);
    assert.equal(there.code, 0, there.stdout);
    const far = await run('ping', '-c1', '-W5', LAB.unreachable[family]);
    assert.equal(far.code, 1);
    assert.match(far.stdout, /unreachable/i);
  });

  test(`large pings and questions, in fragments, are answered whole (${family})`, async () => {
    const before = (await counters())['reassembled']!;
    const ping = await run('ping', '-c2', '-s8000', server);
    assert.equal(ping.code, 0, ping.stdout);
    assert.match(ping.stdout, /8008 bytes from/);
    const script = `${QUESTION}s.send(question(77, 5000)); print(s.recv(5000)[:2] == bytes([0, 77]))`;
    assert.equal((await run('python3', '-c', script, server)).stdout.trim(), 'True');
    assert.equal((await counters())['reassembled']! - before, 3);
  });

  test(`many datagrams in one packet of the application are each answered (${family})`, async () => {
    const before = (await counters())['packetsIn']!;
    // SOL_UDP, UDP_SEGMENT (udp(7)): the kernel cuts the bytes into datagrams, or leaves it to the device.
    const script = `${QUESTION}s.setsockopt(17, 103, 500)
s.send(b''.join(question(i, 500) for i in range(20)))
print(sorted(struct.unpack('>H', s.recv(5000)[:2])[0] for i in range(20)) == list(range(20)))`;
    assert.equal((await run('python3', '-c', script, server)).stdout.trim(), 'True');
    const packets = (await counters())['packetsIn']! - before;
    assert.ok(packets < 10, `${packets} packets for 20 datagrams: the device did not leave them in one`);
  });

  test(`UDP in fragments is ECONNREFUSED at once (${family})`, async () => {
    const script = `import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 443)); s.settimeout(10); s.send(bytes(4000))
try: s.recv(1)
except OSError as e: print(type(e).__name__)`;
    assert.equal((await run('python3', '-c', script, server)).stdout.trim(), 'ConnectionRefusedError');
  });

  test(`UDP to another port is ECONNREFUSED at once (${family})`, async () => {
    const script = `import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 443)); s.settimeout(10); s.send(b'x')
try: s.recv(1)
except OSError as e: print(type(e).__name__)`;
    assert.equal((await run('python3', '-c', script, server)).stdout.trim(), 'ConnectionRefusedError');
  });
}

test('many questions at once are each given their own answer', async () => {
  const asked = await Promise.all(
    Array.from({ length: 20 }, () => run('dig', '+short', '+tries=1', `@${LAB.target.v4}`, 'name.test')),
  );
  for (const { stdout } of asked) assert.equal(stdout.trim(), '192.0.2.99');
});

test('a resolver that says nothing is a failure before its client gives up, and a ping of it unreachable', async () => {
  const [dig, ping] = await Promise.all([
    run('dig', '+tries=1', '+time=8', `@${LAB.silent.v4}`, 'name.test'),
    run('ping', '-c', '1', '-W', '8', LAB.silent.v4),
  ]);
  assert.match(dig.stdout, /status: SERVFAIL/);
  assert.equal(ping.code, 1);
  assert.match(ping.stdout, /Unreachable/);
  const state = (await counters()) as unknown as { dns: { waiting: number; waitingBytes: number } };
  assert.deepEqual([state.dns.waiting, state.dns.waitingBytes], [0, 0]);
});
