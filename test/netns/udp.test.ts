/** UDP by relay and directly: real protocols, ICMP errors, and what is left on the bastion. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { capture, LAB, waitFor } from '../lab/namespaces.ts';
import { PATH_MTU, SOFT_ERROR, UDP_CLIENT } from './udp-client.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const COMMAND_DEADLINE_MS = 20_000;
const DIRECT = [LAB.bastion.far4, LAB.bastion.far6];
/** Less than the application may send at once. */
const FAR_MTU = 1400;

const folder = mkdtempSync(join(tmpdir(), 'netproxy-udp-'));
const file = (name: string): string => join(folder, name);
let world: World;
let netproxy: Netproxy;
const servers: ChildProcess[] = [];

const rules = [
  ...['--rule', `protocol: udp, to: [${DIRECT.join(', ')}], via: direct`],
  ...['--rule', 'protocol: udp, via: relay'],
  ...['--rule', 'protocol: icmp, via: relay'],
];

before(async () => {
  // Without start-up files of the user's shell on the bastion.
  world = await World.create({ config: ['SetEnv HOME=/nonexistent'] });
  const { bastion, target } = world.lab;
  await bastion.run(['sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647']);
  await bastion.ip(`link set far0 mtu ${FAR_MTU}`);
  await target.ip(`link set eth0 mtu ${FAR_MTU}`);
  execFileSync(
    'openssl',
    // prettier-ignore
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
     '-subj', '/CN=target.test', '-keyout', file('key'), '-out', file('cert')],
    { stdio: 'ignore' },
  );
  writeFileSync(file('page'), Buffer.alloc(300_000, 'page '));
  const start = (where: typeof target, ...argv: string[]): void => {
    servers.push(where.spawn(argv, { stdio: ['pipe', 'ignore', 'ignore'] }));
  };
  const script = join(import.meta.dirname, 'udp-server.py');
  start(target, '/usr/bin/python3', script, LAB.target.v4, LAB.target.v6);
  // It answers from where it was asked, which is not the address that a route would choose.
  start(bastion, '/usr/bin/python3', script, ...DIRECT);
  const dns = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root'];
  start(target, 'dnsmasq', ...dns, '--port=5353', '--pid-file=', '--address=/name.test/192.0.2.99');
  const dtls = target.spawn(
    ['openssl', 's_server', '-dtls', '-accept', '4433', '-quiet', '-cert', file('cert'), '-key', file('key')],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  // It cannot answer by itself over DTLS (-rev).
  dtls.stdout!.on('data', (said: Buffer) => {
    if (said.includes('hello')) dtls.stdin!.write('olleh\n');
  });
  servers.push(dtls);
  start(target, 'gtlsserver', '-q', '-d', folder, LAB.target.v6, '4434', file('key'), file('cert'));
  for (const port of [7007, 123, 5353, 4433, 4434]) await waitForUdp(port);
  netproxy = world.bare([...world.flags, '--log-level', 'info', ...rules]);
  await netproxy.ready();
});

after(async () => {
  for (const server of servers) server.kill('SIGKILL');
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

async function waitForUdp(port: number): Promise<void> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  await waitFor(`a UDP server on ${port}`, async () => {
    const { stdout } = await world.lab.target.run(['cat', '/proc/self/net/udp', '/proc/self/net/udp6']);
    return stdout.includes(`:${hex} `);
  });
}

async function run(
  command: readonly string[],
  input = '',
): Promise<{ code: number | null; stdout: string; ms: number }> {
  const started = performance.now();
  const options = { mayFail: true, timeoutMs: COMMAND_DEADLINE_MS, input };
  const done = await world.lab.app.run(command, options);
  return { code: done.code, stdout: done.stdout + done.stderr, ms: performance.now() - started };
}

function python(script: string, to: string, port: number): ReturnType<typeof run> {
  return run(['/usr/bin/python3', '-c', UDP_CLIENT + script, to, String(port)]);
}

interface State {
  readonly relays: readonly {
    state: string;
    starts: number;
    sent: number;
    received: number;
    flows: number;
  }[];
  readonly udp: { readonly direct: { readonly sockets: number } };
}

async function state(): Promise<State> {
  const before = netproxy.stderr.length;
  netproxy.child.kill('SIGUSR2');
  const line = await waitFor('the state', () => {
    const whole = netproxy.stderr.slice(before).split('\n').slice(0, -1);
    return whole.find((text) => text.includes('"msg":"state"'));
  });
  return JSON.parse(line) as State;
}

for (const family of ['v4', 'v6'] as const) {
  const target = LAB.target[family];
  const uplink = LAB.bastion[family === 'v4' ? 'far4' : 'far6'];

  for (const [how, to] of [
    ['by relay', target],
    ['directly', uplink],
  ] as const) {
    test(`an echo of small, empty and large datagrams (${how}, ${family})`, async () => {
      const script = `s.send(b'x'); assert s.recv(9) == b'x'
s.send(b''); assert s.recv(9) == b''
s.send(bytes(9000)); assert s.recv(9999) == bytes(9000)
print('right')`;
      assert.equal((await python(script, to, 7007)).stdout.trim(), 'right');
    });

    test(`a port where nobody listens is ECONNREFUSED at once (${how}, ${family})`, async () => {
      const { stdout, ms } = await python(`s.send(b'x'); print(told(lambda: s.recv(1)))`, to, 7009);
      assert.equal(stdout.trim(), 'ConnectionRefusedError');
      assert.ok(ms < 5000, `took ${ms} ms`);
    });
  }

  test(`a path that takes less is told to the application (${family})`, async () => {
    const { stdout } = await python(PATH_MTU, target, 7007);
    assert.deepEqual(stdout.trim().split('\n'), [`${FAR_MTU} EMSGSIZE`, 'cut']);
  });

  test(`an unreachable host is told to the application (${family})`, async () => {
    const to = LAB.unreachable[family];
    assert.equal((await python(SOFT_ERROR, to, 7007)).stdout.trim(), '113');
  });

  test(`dig by UDP to a port that is not DNS's (${family})`, async () => {
    const { stdout } = await run(['dig', '+short', '+notcp', '-p', '5353', `@${target}`, 'name.test']);
    assert.equal(stdout.trim(), '192.0.2.99');
  });

  test(`the time by NTP (${family})`, async () => {
    const { code, stdout } = await run(['ntpdig', '-t', '5', target]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /[+-]0\.\d+.*s1/);
  });

  test(`an exchange by DTLS (${family})`, async () => {
    const to = family === 'v4' ? `${target}:4433` : `[${target}]:4433`;
    // The client ends with its input, so that stays open until the answer was there.
    const script = `(echo hello; for i in $(seq 100); do sleep 0.1; grep -q olleh ${file('dtls')} && exit; done) |
openssl s_client -dtls -quiet -no_ign_eof -connect '${to}' > ${file('dtls')} 2>/dev/null; cat ${file('dtls')}; : > ${file('dtls')}`;
    writeFileSync(file('dtls'), '');
    assert.match((await run(['sh', '-c', script])).stdout, /olleh/);
  });

  test(`a ping goes there as a ping (${family})`, async () => {
    const seen = await capture(world.lab.target, 'eth0', 'icmp or icmp6', 'in');
    const { code, stdout } = await run(['ping', '-c2', '-i0.2', '-W5', '-s1200', target]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /1208 bytes from/);
    await waitFor('the request', () => seen.lines.some((line) => line.includes('echo request')));
    await seen.stop();
    const far = await run(['ping', '-c1', '-W5', LAB.unreachable[family]]);
    assert.equal(far.code, 1);
    assert.match(far.stdout, /unreachable/i);
  });
}

test('a page by QUIC', async () => {
  const out = mkdtempSync(join(folder, 'got-'));
  const { stdout } = await run([
    ...['gtlsclient', '-q', '--exit-on-all-streams-close', `--download=${out}`, '--timeout=15s'],
    ...[LAB.target.v6, '4434', 'https://target.test/page'],
  ]);
  assert.deepEqual(readFileSync(join(out, 'page')), readFileSync(file('page')), stdout);
});

test('one relay carries all of it, and direct flows have sockets of their own', async () => {
  const { relays, udp } = await state();
  assert.equal(relays.length, 1);
  assert.equal(relays[0]!.state, 'up');
  assert.equal(relays[0]!.starts, 1);
  assert.ok(udp.direct.sockets > 0);
});

test('the relay follows its connection', async () => {
  world.sshd.dropConnections();
  await waitFor('the bastion to be back', () =>
    /bastion is ready.*\n[^]*bastion is ready/.test(netproxy.stderr),
  );
  const { stdout } = await python(`s.send(b'again'); print(s.recv(9))`, LAB.target.v4, 7007);
  assert.equal(stdout.trim(), "b'again'");
});

/** Processes of the bastion that are interpreters with a program of ours. */
async function relayProcesses(): Promise<number> {
  const pids = await world.lab.bastion.pids();
  return pids.filter((pid) => {
    try {
      return /sys\.stdin|STDIN/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    } catch {
      return false;
    }
  }).length;
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`nothing is left on the bastion after ${signal}`, async () => {
    await python(`s.send(b'x'); s.recv(9)`, LAB.target.v4, 7007);
    assert.equal(await relayProcesses(), 1);
    await netproxy.stop(signal);
    await waitFor('the end of the relay', async () => (await relayProcesses()) === 0);
    netproxy = world.bare([...world.flags, '--log-level', 'info', ...rules]);
    await netproxy.ready();
  });
}
