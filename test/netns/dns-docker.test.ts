/**
 * Docker's resolver as an engine sets it up in a container's namespace: rules of nat lead 127.0.0.11 to a port of the
 * engine's, whose resolver knows containers and hands all other names on. Here it gives those an address that
 * nobody else gives. The far resolver is named by the bastion's resolv.conf alone.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { capture, createLab, LAB, waitFor } from '../lab/namespaces.ts';
import type { Capture, Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { dnsmasq, Resolving, SAYS } from './dns-world.ts';
import type { Netproxy } from './world.ts';

const ENGINE = '127.0.0.11';
const ENGINE_PORT = 35_311;
const CONTAINER = '192.0.2.200';

/** The rules of libnetwork's sandbox, in a table that is not ours. */
const NAT = `
table ip nat {
  chain OUTPUT { type nat hook output priority -100; policy accept; ip daddr ${ENGINE} jump DOCKER_OUTPUT; }
  chain POSTROUTING { type nat hook postrouting priority 100; policy accept; ip daddr ${ENGINE} jump DOCKER_POSTROUTING; }
  chain DOCKER_OUTPUT {
    ip daddr ${ENGINE} tcp dport 53 dnat to ${ENGINE}:${ENGINE_PORT}
    ip daddr ${ENGINE} udp dport 53 dnat to ${ENGINE}:${ENGINE_PORT}
  }
  chain DOCKER_POSTROUTING {
    ip saddr ${ENGINE} tcp sport ${ENGINE_PORT} snat to :53
    ip saddr ${ENGINE} udp sport ${ENGINE_PORT} snat to :53
  }
}`;

let lab: Lab;
let sshd: Sshd;
let app: Resolving;
let netproxy: Netproxy;
let engine: ChildProcess;
let engineSaid = '';
let far: ChildProcess;
let sniffer: Capture;
let args: string[];
before(async () => {
  lab = await createLab();
  // A root of its own for SFTP, whose resolv.conf names the target as the resolver.
  const root = `/run/${lab.bastion.name}`;
  mkdirSync(`${root}/etc`, { recursive: true });
  writeFileSync(`${root}/etc/resolv.conf`, `nameserver ${LAB.absent.v4}\nnameserver ${LAB.target.v4}\n`);
  sshd = await startSshd({
    netns: lab.bastion.name,
    address: LAB.bastion.v4,
    config: ['Subsystem sftp internal-sftp', `ChrootDirectory ${root}`],
  });
  far = await dnsmasq(lab.target, [LAB.target.v4], `--address=/#/${SAYS.far}`);
  engine = lab.app.spawn(
    [
      'dnsmasq',
      ...[
        '--keep-in-foreground',
        '--conf-file=/dev/null',
        '--no-resolv',
        '--no-hosts',
        '--user=root',
        '--pid-file=',
      ],
      ...['--bind-interfaces', '--log-queries', '--log-facility=-'],
      ...[`--listen-address=${ENGINE}`, `--port=${ENGINE_PORT}`, `--address=/#/${SAYS.near}`],
      ...[`--host-record=db,${CONTAINER}`, `--host-record=db.mynet,${CONTAINER}`],
      `--ptr-record=10.2.0.192.in-addr.arpa,app.mynet`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  engine.stderr!.setEncoding('utf8').on('data', (text: string) => (engineSaid += text));
  await lab.app.run(['nft', '-f', '-'], { input: NAT });
  app = new Resolving(lab.app, `search lan.test\nnameserver ${ENGINE}\noptions ndots:0\n`);
  await waitFor('the engine', async () => (await dig('+short', 'any.example')).trim() === SAYS.near);
  sniffer = await capture(lab.app, 'eth0', 'port 53');
  const { user, port, clientKeyFile, knownHostsFile } = sshd;
  const bastion = ['--bastion', `ssh://${user}@${LAB.bastion.v4}:${port}`];
  args = [...bastion, '--identity', clientKeyFile, '--known-hosts', knownHostsFile];
  netproxy = app.netproxy(args);
  await netproxy.ready();
  // On a slow machine a question is given up before the search for it ends.
  await waitFor('the far resolver', () => netproxy.stderr.includes('names are looked for at the far end by'));
  engineSaid = '';
});
after(async () => {
  await netproxy?.stop();
  await sniffer?.stop();
  engine?.kill();
  far?.kill();
  await sshd?.stop();
  app?.remove();
  await lab?.cleanup();
});

const dig = async (...words: string[]): Promise<string> =>
  (await app.run('dig', '+tries=1', ...words)).stdout;

test("the far resolver is the one that the bastion's resolv.conf names, read by SFTP", async () => {
  assert.equal((await dig('+short', 'name.test')).trim(), SAYS.far);
  assert.match(netproxy.stderr, /names are looked for at the far end by 198\.51\.100\.80:53/);
});

test("the network's name was asked of the engine, so that NAME.NETWORK is local", () => {
  assert.match(netproxy.stderr, /"domains":\["lan\.test","mynet"\]/);
});

for (const by of ['+notcp', '+tcp']) {
  test(`containers by NAME and NAME.NETWORK are the engine's, all other names the far end's (${by})`, async () => {
    for (const name of ['db', 'db.mynet'])
      assert.equal((await dig('+short', by, name)).trim(), CONTAINER, name);
    for (const name of ['example.com', 'mynet.example', 'db.other.test']) {
      assert.equal((await dig('+short', by, name)).trim(), SAYS.far, name);
    }
  });
}

test('getaddrinfo by way of the engine’s resolv.conf', async () => {
  const script =
    "import socket; print(*(socket.gethostbyname(n) for n in ('db', 'db.mynet', 'www.example')))";
  const { stdout, stderr } = await app.run('python3', '-c', script);
  assert.equal(stdout.trim(), `${CONTAINER} ${CONTAINER} ${SAYS.far}`, stderr);
});

test('a socket bound to a device is captured too', async () => {
  const script = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
try:
    s.sendto(bytes.fromhex('000701000001000000000000') + b'\\x05bound\\x07example\\0\\0\\1\\0\\1', ('${LAB.bastion.v4}', 53))
    s.recv(512); print('answered')
except OSError as error: print(type(error).__name__)`;
  // Redirected to loopback, which its device does not lead to: the kernel refuses. What counts is that nothing left.
  assert.match((await app.run('python3', '-c', script)).stdout, /answered|TimeoutError|PermissionError/);
  assert.deepEqual(
    sniffer.lines.filter((line) => line.includes('bound.example')),
    [],
  );
});

test('the engine was asked for local names only, and no question left by eth0', () => {
  const asked = [...engineSaid.matchAll(/query\[\w+\] (\S+) from/g)].map((match) => match[1]!);
  assert.ok(asked.length >= 4, engineSaid);
  for (const name of asked)
    assert.match(name, /^(db|db\.mynet|.*\.lan\.test|.*\.in-addr\.arpa|.*\.ip6\.arpa)$/);
  assert.deepEqual(sniffer.lines, []);
});

test("the engine's rules are as they were, and after a kill nobody is asked but netproxy", async () => {
  const table = async (): Promise<string> =>
    (await lab.app.run(['nft', '-s', 'list', 'table', 'ip', 'nat'])).stdout;
  assert.match(await table(), /DOCKER_OUTPUT[\s\S]*dnat to 127\.0\.0\.11:35311/);
  engineSaid = '';
  await netproxy.stop('SIGKILL');
  for (const name of ['example.com', 'db']) assert.match(await dig(name), /refused|no servers/i);
  assert.equal(engineSaid, '');
  netproxy = app.netproxy(args);
  await netproxy.ready();
  assert.equal((await dig('+short', 'db')).trim(), CONTAINER);
  await netproxy.stop();
  await app.run(process.execPath, 'dist/main.js', 'release');
  assert.equal((await dig('+short', 'example.com')).trim(), SAYS.near, 'the engine again');
});
