/** What comes of a ping by each verdict, of direct UDP that meets ICMP errors, and of a SYN that is dropped. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { capture, LAB, waitFor } from '../lab/namespaces.ts';
import { PATH_MTU, SOFT_ERROR, UDP_CLIENT } from './udp-client.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const COMMAND_DEADLINE_MS = 20_000;
const AT_ONCE_MS = 3_000;
/** Less than the application may send at once. */
const FAR_MTU = 1400;
const EVERYBODY = '0 2147483647';
const NOBODY = '1 0';
/** What the router says of `LAB.unreachable`: EHOSTUNREACH, and of IPv6 that there is no route, ENETUNREACH. */
const UNREACHABLE = { v4: '113', v6: '101' } as const;

/** Addresses of the target, by what becomes of a ping there. */
const HOST = {
  direct: { v4: '198.51.100.81', v6: '2001:db8:2::81' },
  reject: { v4: '198.51.100.82', v6: '2001:db8:2::82' },
  drop: { v4: '198.51.100.83', v6: '2001:db8:2::83' },
  relay: { v4: '198.51.100.84', v6: '2001:db8:2::84' },
  networkless: { v4: '198.51.100.85', v6: '2001:db8:2::85' },
} as const;
type Place = keyof typeof HOST;

let world: World;
let netproxy: Netproxy;

const rule = (place: Place, via: string): readonly string[] => [
  '--rule',
  `protocol: icmp, to: [${HOST[place].v4}, "${HOST[place].v6}"], via: "${via}"`,
];
const networks = [LAB.unreachable, LAB.prohibited].flatMap(({ v4, v6 }) => [v4, `"${v6}"`]).join(', ');

before(async () => {
  // Without start-up files of the user's shell on the bastion.
  world = await World.create({ config: ['SetEnv HOME=/nonexistent'] });
  const { app, bastion, target } = world.lab;
  const set = (where: typeof app, ...values: readonly string[]): Promise<unknown> =>
    where.run(['sysctl', '-qw', ...values]);
  // Here the bastion's machine is the uplink's router too.
  await set(bastion, `net.ipv4.ping_group_range=${EVERYBODY}`, 'net.ipv4.ip_forward=1');
  await set(bastion, 'net.ipv6.conf.all.forwarding=1');
  await set(app, `net.ipv4.ping_group_range=${EVERYBODY}`, 'net.ipv4.tcp_syn_retries=1');
  await bastion.ip(`link set far0 mtu ${FAR_MTU}`);
  await target.ip(
    `link set eth0 mtu ${FAR_MTU}`,
    ...Object.values(HOST).flatMap(({ v4, v6 }) => [
      `addr add ${v4}/24 dev eth0`,
      `addr add ${v6}/64 dev eth0 nodad`,
    ]),
    `route add 192.0.2.0/24 via ${LAB.bastion.far4}`,
    `route add 2001:db8:1::/64 via ${LAB.bastion.far6}`,
  );
  const echo = join(import.meta.dirname, 'udp-server.py');
  target
    .spawn(['/usr/bin/python3', echo, ...[HOST.direct, HOST.drop].flatMap(({ v4, v6 }) => [v4, v6])], {
      stdio: 'ignore',
    })
    .unref();
  await waitFor('the UDP server', async () =>
    (await target.run(['cat', '/proc/self/net/udp6'])).stdout.includes(
      `:${(7007).toString(16).toUpperCase()} `,
    ),
  );
  netproxy = world.bare([
    ...[...world.flags, '--log-level', 'debug'],
    // It names ports, which pings have none of.
    ...['--rule', 'ports: [443], via: reject'],
    ...rule('direct', 'direct'),
    ...rule('reject', 'reject'),
    ...rule('drop', 'drop'),
    ...rule('relay', 'relay'),
    ...rule('networkless', 'reject:network-unreachable'),
    ...['--rule', `to: [${networks}], protocol: icmp, via: direct`],
    ...['--rule', `to: [${networks}, 198.51.100.80/28, "2001:db8:2::80/124"], protocol: udp, via: direct`],
    ...['--rule', 'protocol: tcp, ports: [7777], via: drop'],
  ]);
  await netproxy.ready();
});
after(() => world.close());

async function run(command: readonly string[]): Promise<{ code: number | null; stdout: string; ms: number }> {
  const started = performance.now();
  const done = await world.lab.app.run(command, { mayFail: true, timeoutMs: COMMAND_DEADLINE_MS });
  return { code: done.code, stdout: done.stdout + done.stderr, ms: performance.now() - started };
}

/** As tcpdump prints it. */
const SYN = /\.443: Flags \[S\]/;

const ping = (to: string, ...more: readonly string[]): ReturnType<typeof run> =>
  run(['ping', '-n', '-c1', '-W5', ...more, to]);

/** Pings, and gives what of it the target saw as well, once it saw what is `wanted`. */
async function seen(
  to: string,
  wanted: RegExp | undefined,
  ...more: readonly string[]
): Promise<{ code: number | null; stdout: string; ms: number; lines: readonly string[] }> {
  const filter = `host ${to} and (icmp or icmp6 or tcp) and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 137)`;
  const running = await capture(world.lab.target, 'eth0', filter, 'in');
  const result = await ping(to, ...more);
  if (wanted !== undefined)
    await waitFor('it to be seen', () => running.lines.some((line) => wanted.test(line))).catch(() => {});
  await running.stop();
  return { ...result, lines: running.lines.filter((line) => line !== '') };
}

function python(script: string, to: string, port: number): ReturnType<typeof run> {
  return run(['/usr/bin/python3', '-c', UDP_CLIENT + script, to, String(port)]);
}

for (const family of ['v4', 'v6'] as const) {
  const at = (place: Place): string => HOST[place][family];
  const own = LAB.app[family];
  const far = LAB.bastion[family === 'v4' ? 'far4' : 'far6'];

  test(`direct: the ping goes there by the uplink, whole, and so does the answer (${family})`, async () => {
    const { code, stdout, lines } = await seen(at('direct'), /echo request/, '-s1200');
    assert.equal(code, 0, stdout);
    assert.match(stdout, /1208 bytes from/);
    assert.ok(
      lines.some((line) => line.includes(`${own} > ${at('direct')}: ICMP`) && line.includes('echo request')),
      lines.join('\n'),
    );
  });

  test(`direct: errors of the way come back to ping, and so does the MTU of the path (${family})`, async () => {
    const nobody = await ping(LAB.unreachable[family]);
    assert.equal(nobody.code, 1);
    assert.match(nobody.stdout, /unreachable/i);
    assert.ok(nobody.ms < AT_ONCE_MS, `took ${nobody.ms} ms`);
    const { stdout } = await ping(at('direct'), '-c2', '-i0.5', '-Mdo', '-s1390');
    assert.match(stdout, new RegExp(`mtu ?= ?${FAR_MTU}`));
    // Linux keeps what ICMPv6 tells of a ping without its mark, and so not for the uplink.
    if (family === 'v6') return;
    const cut = await ping(at('direct'), '-Mdont', '-s1390');
    assert.equal(cut.code, 0, cut.stdout);
  });

  test(`reject: ICMP says so at once, and nothing leaves (${family})`, async () => {
    const { code, stdout, ms, lines } = await seen(at('reject'), undefined);
    assert.equal(code, 1);
    assert.match(stdout, /filtered|prohibited/i);
    assert.ok(ms < AT_ONCE_MS, `took ${ms} ms`);
    assert.deepEqual(lines, []);
    const other = await ping(at('networkless'));
    assert.match(other.stdout, /net unreachable|no route/i);
  });

  test(`drop: no answer, no error, and nothing leaves (${family})`, async () => {
    const { code, stdout, lines } = await seen(at('drop'), undefined, '-W1');
    assert.equal(code, 1);
    assert.match(stdout, /1 packets transmitted, 0 received, 100% packet loss/);
    assert.deepEqual(lines, []);
  });

  test(`relay: the bastion pings (${family})`, async () => {
    const { code, stdout, lines } = await seen(at('relay'), /echo request/);
    assert.equal(code, 0, stdout);
    assert.ok(
      lines.some((line) => line.includes(`${far} > ${at('relay')}: ICMP`) && line.includes('echo request')),
      lines.join('\n'),
    );
  });

  test(`no rule: a connect through the bastion answers it, which asks no rule of its own (${family})`, async () => {
    const { code, stdout, lines } = await seen(LAB.target[family], SYN);
    assert.equal(code, 0, stdout);
    assert.ok(
      lines.some((line) => line.includes(`> ${LAB.target[family]}.443: Flags [S]`)),
      lines.join('\n'),
    );
    assert.ok(!lines.some((line) => line.includes('echo request')), lines.join('\n'));
  });

  test(`direct UDP: the path's MTU and errors of every kind come back (${family})`, async () => {
    // The kernel remembers what it was told of another address.
    const { stdout } = await python(PATH_MTU, at('drop'), 7007);
    assert.deepEqual(stdout.trim().split('\n'), [`${FAR_MTU} EMSGSIZE`, 'cut']);
    assert.equal(
      (await python(SOFT_ERROR, LAB.unreachable[family], 7007)).stdout.trim(),
      UNREACHABLE[family],
    );
    const refused = await python(`s.send(b'x'); print(told(lambda: s.recv(1)))`, at('direct'), 7009);
    assert.equal(refused.stdout.trim(), 'ConnectionRefusedError');
    // It goes on afterwards, and nobody turns in a circle over errors that are not read.
    const again = await python(`told(lambda: s.send(b'x')); print(s.recv(1))`, at('direct'), 7007);
    assert.equal(again.stdout.trim(), "b'x'");
  });

  test(`a SYN that is dropped is never answered: ETIMEDOUT when the application gives up (${family})`, async () => {
    const script = `import socket, sys, time
began = time.time()
try: socket.create_connection((sys.argv[1], 7777))
except OSError as e: print(e.errno, time.time() - began > 2.5)`;
    const { stdout } = await run(['/usr/bin/python3', '-c', script, LAB.target[family]]);
    assert.equal(stdout.trim(), '110 True');
  });
}

test('a ping is listed as a flow, with its rule and its bytes', async () => {
  await ping(HOST.relay.v4, '-c2', '-i0.3', '-s100');
  const { connections } = JSON.parse(await world.command('connections', '--json')) as {
    connections: { protocol: string; to: string; verdict: string; bytesOut: number; bytesIn: number }[];
  };
  const found = connections.findLast(
    ({ protocol, to }) => protocol === 'icmp' && to.startsWith(HOST.relay.v4),
  );
  assert.deepEqual([found?.verdict, found?.bytesOut, found?.bytesIn], ['main', 200, 200]);
});

test('the log names the rule of a ping', () => {
  const lines = netproxy.stderr.split('\n').filter((line) => line.includes('"protocol":"icmp"'));
  const told = JSON.parse(lines.find((line) => line.includes(HOST.reject.v4))!) as Record<string, unknown>;
  assert.equal(told['verdict'], 'reject');
  assert.match(String(told['rule']), /^--rule\[2\]:1 to 198\.51\.100\.82/);
});

test('netproxy rests after errors', async () => {
  const stat = async (): Promise<number> => {
    const { stdout } = await world.lab.app.run(['cat', `/proc/${netproxy.child.pid}/stat`]);
    const [, rest = ''] = stdout.split(') ');
    const fields = rest.split(' ');
    // proc_pid_stat(5): utime and stime, in ticks of 10 ms.
    return 10 * (Number(fields[11]) + Number(fields[12]));
  };
  const before = await stat();
  await run(['sleep', '2']);
  const used = (await stat()) - before;
  assert.ok(used < 1000, `${used} ms of 2000`);
});

test('where the kernel lets netproxy send no pings, a direct connect answers them, and the log says so', async () => {
  await world.lab.app.run(['sysctl', '-qw', `net.ipv4.ping_group_range=${NOBODY}`]);
  for (const family of ['v4', 'v6'] as const) {
    const to = HOST.direct[family];
    const { code, stdout, lines } = await seen(to, SYN);
    assert.equal(code, 0, stdout);
    assert.ok(
      lines.some((line) => line.includes(LAB.app[family]) && line.includes('.443: Flags [S]')),
      lines.join('\n'),
    );
  }
  assert.match(netproxy.stderr, /pings cannot be sent as they are \(socket: .*ping_group_range/);
});
