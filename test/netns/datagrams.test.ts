/** DNS by UDP, ping, and what other UDP is told. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, test } from 'node:test';
import { LAB, waitForPort } from '../lab/namespaces.ts';
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
  netproxy = world.netproxy();
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
    assert.match(cut.stdout, /ANSWER: 0/);
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

  test(`UDP in fragments is ECONNREFUSED at once (${family})`, async () => {
    const script = `import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 443)); s.settimeout(1); s.send(bytes(4000))
try: s.recv(1)
except OSError as e: print(type(e).__name__)`;
    assert.equal((await run('python3', '-c', script, server)).stdout.trim(), 'ConnectionRefusedError');
  });

  test(`UDP to another port is ECONNREFUSED at once (${family})`, async () => {
    const script = `import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 443)); s.settimeout(1); s.send(b'x')
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
