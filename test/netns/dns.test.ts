/**
 * DNS end to end: a resolver on the application's link, one at the far end, and the resolvers that programs bring
 * along. Whatever is not local must be told to the far one alone.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { capture, createLab, LAB, waitFor } from '../lab/namespaces.ts';
import type { Capture, Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { dnsmasq, Resolving, SAYS } from './dns-world.ts';
import type { Netproxy } from './world.ts';

let lab: Lab;
let sshd: Sshd;
let app: Resolving;
let netproxy: Netproxy;
let sniffer: Capture;
const resolvers: ChildProcess[] = [];
before(async () => {
  lab = await createLab({ other: true });
  sshd = await startSshd({ netns: lab.bastion.name, address: LAB.bastion.v4 });
  const long = Array.from({ length: 8 }, (_, i) => `--txt-record=long.test,${`${i}`.repeat(200)}`);
  const both = [`--address=/both.test/${SAYS.far}`, '--address=/both.test/2001:db8:2::80'];
  const v6 = [...both, '--address=/six.test/2001:db8:2::80', '--address=/nowhere6.test/2001:db8:99::1'];
  resolvers.push(
    await dnsmasq(lab.bastion, ['127.0.0.53'], `--address=/#/${SAYS.far}`, ...v6, ...long),
    await dnsmasq(
      lab.other,
      [LAB.other.v4, LAB.other.v6],
      `--address=/#/${SAYS.near}`,
      '--host-record=db,192.0.2.20',
      '--ptr-record=20.2.0.192.in-addr.arpa,db.corp.test',
    ),
  );
  app = new Resolving(lab.app, `search corp.test\nnameserver ${LAB.other.v4}\nnameserver ${LAB.other.v6}\n`);
  sniffer = await capture(lab.app, 'eth0', 'port 53');
  const { user, port, clientKeyFile, knownHostsFile } = sshd;
  const bastion = ['--bastion', `ssh://${user}@${LAB.bastion.v4}:${port}`];
  const keys = ['--identity', clientKeyFile, '--known-hosts', knownHostsFile];
  netproxy = app.netproxy([...bastion, ...keys, '--dns-local', 'mine.test', '--dns-far', 'far.corp.test']);
  await netproxy.ready();
  // On a slow machine a question is given up before the search for it ends.
  await waitFor('the far resolver', () => netproxy.stderr.includes('names are looked for at the far end by'));
});
after(async () => {
  await netproxy?.stop();
  await sniffer?.stop();
  for (const each of resolvers) each.kill();
  await sshd?.stop();
  app?.remove();
  await lab?.cleanup();
});

const dig = async (...args: string[]): Promise<string> => (await app.run('dig', '+tries=1', ...args)).stdout;

for (const server of [LAB.other.v4, LAB.other.v6, LAB.target.v4, LAB.target.v6]) {
  for (const by of ['+notcp', '+tcp']) {
    test(`a far name is asked for at the far end, whichever resolver is addressed (${server} ${by})`, async () => {
      assert.equal((await dig('+short', by, `@${server}`, 'name.test')).trim(), SAYS.far);
    });
  }
}

test('the resolver at the far end was found, and the log says which', () => {
  assert.match(netproxy.stderr, /names are looked for at the far end by 127\.0\.0\.53:53/);
});

for (const name of [
  'db',
  'db.corp.test',
  'x.mine.test',
  'printer.local',
  'a.internal',
  'a.svc.cluster.local',
]) {
  test(`a local name is asked for by the namespace's own resolver: ${name}`, async () => {
    const expected = name === 'db' ? '192.0.2.20' : SAYS.near;
    for (const server of [LAB.other.v4, LAB.other.v6]) {
      assert.equal((await dig('+short', `@${server}`, name)).trim(), expected);
      assert.equal((await dig('+short', '+tcp', `@${server}`, name)).trim(), expected);
    }
  });
}

test('a local name is told to no resolver that is not the namespace’s own', async () => {
  assert.match(await dig(`@${LAB.target.v4}`, 'db'), /status: REFUSED/);
});

test('a domain of dns.far within a search domain is the far end’s', async () => {
  assert.equal((await dig('+short', 'a.far.corp.test')).trim(), SAYS.far);
});

test('the reverse of a local network is local, of another far', async () => {
  assert.equal((await dig('+short', '-x', '192.0.2.20')).trim(), 'db.corp.test.');
  assert.doesNotMatch(await dig('-x', '198.51.100.80'), /corp\.test/);
});

test('localhost needs no resolver', async () => {
  assert.equal((await dig('+short', 'localhost')).trim(), '127.0.0.1');
  assert.equal((await dig('+short', 'a.localhost', 'AAAA')).trim(), '::1');
});

test('glibc: search domains and dots behave as without netproxy, for both families at once', async () => {
  const script = `import socket, sys
for name in sys.argv[1:]:
    print(name, *sorted({a[4][0] for a in socket.getaddrinfo(name, 80, socket.AF_INET)}))
`;
  const { stdout, stderr } = await app.run('python3', '-c', script, 'db', 'web', 'name.test', 'db.corp.test');
  assert.deepEqual(
    stdout.trim().split('\n'),
    [`db ${SAYS.near}`, `web ${SAYS.near}`, `name.test ${SAYS.far}`, `db.corp.test ${SAYS.near}`],
    stderr,
  );
  const got = await app.run('getent', 'ahosts', 'name.test');
  assert.match(got.stdout, new RegExp(`^${SAYS.far.replaceAll('.', '\\.')} `));
});

test('glibc takes a long answer: by UDP it is cut, by TCP it comes whole', async () => {
  const cut = await dig('+noedns', '+ignore', 'long.test', 'TXT');
  assert.match(cut, /flags: qr[^;]* tc[^;]* ra/);
  assert.equal((await dig('+noedns', '+short', 'long.test', 'TXT')).match(/^"/gm)?.length, 8);
  // glibc's own resolver, by res_query(3).
  const script = `import ctypes
lib = ctypes.CDLL('libresolv.so.2')
query = getattr(lib, '__res_query', None) or lib.res_query
print(query(b'long.test', 1, 16, ctypes.create_string_buffer(65536), 65536) > 1600)`;
  assert.equal((await app.run('python3', '-c', script)).stdout.trim(), 'True');
});

test('Node: c-ares and getaddrinfo', async () => {
  const script = `const dns = require('node:dns').promises;
Promise.all([dns.resolve4('name.test'), dns.lookup('name.test'), dns.resolve4('db.corp.test'),
  dns.resolveTxt('long.test')]).then(([a, b, c, d]) => console.log(a[0], b.address, c[0], d.length));`;
  const { stdout, stderr } = await app.run(process.execPath, '-e', script);
  assert.equal(stdout.trim(), `${SAYS.far} ${SAYS.far} ${SAYS.near} 8`, stderr);
});

const GO = (process.env['PATH'] ?? '')
  .split(':')
  .map((each) => join(each, 'go'))
  .find(existsSync);
const GO_PROGRAM = `package main

import ("fmt"; "net"; "os"; "sort"; "strings")

func main() {
	for _, name := range os.Args[1:] {
		addresses, err := net.LookupHost(name)
		if err != nil { fmt.Println(err); continue }
		sort.Strings(addresses)
		fmt.Println(strings.Join(addresses, " "))
	}
}
`;

/** What Go and musl do: A and AAAA at once from one socket; musl asks all resolvers, and takes the first answer. */
const PARALLEL = `import socket, struct, sys
name, servers = sys.argv[1], sys.argv[2:]
def question(id, type):
    labels = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.'))
    return struct.pack('>6H', id, 0x0100, 1, 0, 0, 0) + labels + b'\\0' + struct.pack('>2H', type, 1)
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(8)
for server in servers:
    for id, type in ((1, 1), (2, 28)):
        s.sendto(question(id, type), (server if ':' in server else '::ffff:' + server, 53))
got = {}
while len(got) < 2:
    answer, source = s.recvfrom(4096)
    got[struct.unpack('>H', answer[:2])[0]] = (answer[3] & 15, struct.unpack('>H', answer[6:8])[0])
print(*got[1], *got[2])
`;

test('Go and musl: A and AAAA at once by one socket, to one resolver or to all', async () => {
  for (const servers of [[LAB.other.v4], [LAB.other.v4, LAB.other.v6]]) {
    const { stdout, stderr } = await app.run('python3', '-c', PARALLEL, 'both.test', ...servers);
    // NOERROR and one address, for each family.
    assert.equal(stdout.trim(), '0 1 0 1', stderr);
  }
});

if (GO !== undefined) {
  test('Go: a program without cgo, which asks by itself', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'netproxy-go-'));
    try {
      const source = join(directory, 'main.go');
      writeFileSync(source, GO_PROGRAM);
      const binary = join(directory, 'look');
      const env = {
        ...process.env,
        CGO_ENABLED: '0',
        GOFLAGS: '-mod=mod',
        GOCACHE: join(tmpdir(), 'netproxy-go-cache'),
      };
      await promisify(execFile)(GO, ['build', '-o', binary, source], { env });
      const { stdout, stderr } = await app.run(binary, 'both.test', 'db', 'x.mine.test');
      assert.equal(stdout, `${SAYS.far} 2001:db8:2::80\n${SAYS.near}\n${SAYS.near}\n`, stderr);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}

test('a resolver that is on the link alone is captured too', async () => {
  const links = await lab.other.ipJson<{ addr_info: { local: string; scope: string }[] }[]>(
    'addr',
    'show',
    'eth0',
  );
  const [address] = links[0]!.addr_info.filter(({ scope }) => scope === 'link').map(({ local }) => local);
  const answer = await dig('+time=2', '+short', `@${address}%eth0`, 'link-only.test');
  assert.notEqual(answer.trim(), SAYS.near);
  assert.ok(!sniffer.lines.some((line) => line.includes('link-only.test')));
});

test('IPv6 addresses are given where the bastion has a route to them, and left out where it has none', async () => {
  assert.equal((await dig('+short', 'six.test', 'AAAA')).trim(), '2001:db8:2::80');
  const none = await dig('nowhere6.test', 'AAAA');
  assert.match(none, /status: NOERROR/);
  assert.match(none, /ANSWER: 0/);
});

test('EDNS: the size is the client’s, and an OPT of ours answers an OPT', async () => {
  const large = await dig('+bufsize=4096', '+ignore', 'long.test', 'TXT');
  assert.match(large, /ANSWER: 8/);
  assert.match(large, /EDNS: version: 0, flags:; udp: 1232/);
  assert.match(await dig('+edns=1', '+noednsnegotiation', 'name.test'), /status: BADVERS/);
  assert.match(await dig('+noedns', 'name.test'), /ADDITIONAL: 0/);
});

test('a flood of questions for one name is asked once, and answered all', async () => {
  const script = `const { Resolver } = require('node:dns').promises;
const r = new Resolver(); Promise.all(Array.from({ length: 900 }, () => r.resolve4('flood.test')))
  .then((all) => console.log(all.length, new Set(all.flat()).size));`;
  const { stdout, stderr } = await app.run(process.execPath, '-e', script);
  assert.equal(stdout.trim(), '900 1', stderr);
});

test('while the bastion is away answers are given that were known, and soon', async () => {
  await sshd.halt();
  try {
    await waitFor('the loss', () => netproxy.stderr.includes('bastion is down'));
    const started = performance.now();
    assert.equal((await dig('+short', 'name.test')).trim(), SAYS.far);
    const unknown = await dig('never-asked.test');
    assert.match(unknown, /status: SERVFAIL/);
    assert.ok(performance.now() - started < 10_000);
    assert.equal((await dig('+short', 'db')).trim(), '192.0.2.20', 'local names need no bastion');
  } finally {
    await sshd.start();
  }
  await waitFor('names', async () => (await dig('+short', 'back.test')).trim() === SAYS.far, 30_000);
});

test('nothing but local names left by eth0, and that to the namespace’s own resolver', () => {
  const LOCAL = /(\bdb|corp\.test|mine\.test|\.local|\.internal|\.arpa|\bweb)\./;
  const own = [LAB.other.v4, LAB.other.v6];
  const questions = sniffer.lines.filter((line) => /\b(A|AAAA|TXT|PTR|NS)\? /.test(line));
  assert.ok(questions.length > 10);
  for (const line of sniffer.lines) {
    assert.ok(
      own.some((address) => line.includes(`> ${address}.53: `)),
      line,
    );
  }
  for (const line of questions) assert.match(line, LOCAL);
});
