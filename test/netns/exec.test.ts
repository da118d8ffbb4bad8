/** `netproxy exec`: a command in a namespace of its own, as root and without, whatever becomes of it. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { countLeaks, LAB, waitFor } from '../lab/namespaces.ts';
import { dnsmasq, SAYS } from './dns-world.ts';
import { DEADLINE_MS, main, run, start } from './exec-lab.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

/** A user of nobody's. */
const USER = 64_123;

/** The device as most machines have it, for every user; then `exec` of the rest. */
const OPEN_TUN = [
  ...['unshare', '-m', 'sh', '-ec'],
  'mount -t tmpfs none /dev/net; mknod -m 666 /dev/net/tun c 10 200; exec "$@"',
  'sh',
];
const AS_USER = [
  ...['setpriv', '--reuid', String(USER), '--regid', String(USER), '--clear-groups'],
  ...['--bounding-set', '-all', '--inh-caps', '-all', '--no-new-privs'],
];

const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-exec-'));
let world: World;
let resolver: ChildProcess;
before(async () => {
  world = await World.create();
  resolver = await dnsmasq(world.lab.bastion, ['127.0.0.53'], `--address=/#/${SAYS.far}`);
  const { clientKeyFile, knownHostsFile } = world.sshd;
  for (const [from, to] of [
    [clientKeyFile, 'key'],
    [knownHostsFile, 'known_hosts'],
  ] as const) {
    copyFileSync(from, path.join(directory, to));
    chmodSync(path.join(directory, to), 0o400);
    chownSync(path.join(directory, to), USER, USER);
  }
  chmodSync(directory, 0o755);
});
after(async () => {
  resolver.kill();
  await world.close();
  rmSync(directory, { recursive: true });
});

/** What a command sees of its surroundings, and reaches. */
const SURVEY = `
  ip -o -4 addr | awk '{ print $2 }' | sort -u | tr '\\n' ' '; echo
  getent hosts far.example | awk '{ print $1 }'
  python3 - <<'END'
import socket
s = socket.create_connection(('${LAB.target.v4}', ${PORTS.echo}), 20)
s.sendall(b'there and back'); s.shutdown(socket.SHUT_WR)
print(s.recv(100).decode())
own = socket.create_server(('127.0.0.1', 7000))
socket.create_connection(('127.0.0.1', 7000), 5)
print('loopback')
for address in ['${LAB.bastion.v4}', '${LAB.target.v6}']:
    try: socket.create_connection((address, 1), 20)
    except OSError as error: print(error.strerror)
END
  cat; id -u; exit 7`;
const FOUND = `lo tun0 \n${SAYS.far}\nthere and back\nloopback\nConnection refused\nConnection refused\nfrom outside\n`;

test('as root a command reaches what the bastion does, and nothing of the machine changes', async () => {
  const before_ = await world.lab.app.routes();
  const { count, lines } = await countLeaks(
    world.lab.app,
    'eth0',
    async () => {
      const { code, stdout, stderr } = await run(world, 'exec', ['sh', '-c', SURVEY], {
        input: 'from outside\n',
      });
      assert.equal(stdout, `${FOUND}0\n`, stderr);
      assert.equal(code, 7);
      assert.equal(stderr, '');
    },
    `ip and not (host ${LAB.bastion.v4} and port ${world.sshd.port})`,
  );
  assert.equal(count, 0, lines.join('\n'));
  assert.equal(await world.lab.app.routes(), before_);
});

test('a user without any right has the same by a user namespace, and stays who he is', async () => {
  const identity = [
    '--identity',
    path.join(directory, 'key'),
    '--known-hosts',
    path.join(directory, 'known_hosts'),
  ];
  const { user, address, port } = world.sshd;
  const [file, ...args] = world.lab.app.command([
    ...[...OPEN_TUN, ...AS_USER, process.execPath, main, 'exec'],
    ...['--bastion', `ssh://${user}@${address}:${port}`, ...identity, '--', 'sh', '-c', SURVEY],
  ]);
  const { execFile } = await import('node:child_process');
  const told = await new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(file, args, (error, stdout, stderr) =>
      resolve({ code: error?.code, stdout, stderr }),
    );
    child.stdin?.end('from outside\n');
  });
  assert.equal(told.stdout, `${FOUND}${USER}\n`, told.stderr);
  assert.equal(told.code, 7);
});

test('without the device, or where no namespace may be made, it says so, and what to do', async () => {
  const closed = await run(world, 'exec', ['true'], {
    before: ['unshare', '-m', 'sh', '-ec', 'mount -t tmpfs none /dev/net; exec "$@"', 'sh'],
  });
  assert.equal(closed.code, 64);
  assert.match(closed.stderr, /error TUN_MISSING: .*\/dev\/net\/tun/);
  // In a user namespace of its own, which may have no further ones.
  const none = await run(world, 'exec', ['true'], {
    before: [
      ...['unshare', '-Ur', 'sh', '-ec'],
      'echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"',
      'sh',
    ],
  });
  assert.equal(none.code, 64);
  assert.match(
    none.stderr,
    /error NAMESPACE_REFUSED: making a network namespace[^]*fix: .*max_user_namespaces/,
  );
});

test('signals end a command as they would without netproxy, and the exit code tells', async () => {
  const obedient = start(world, 'exec', ['sh', '-c', 'echo begun; exec sleep 1000']);
  await obedient.says('begun');
  obedient.child.kill('SIGTERM');
  assert.equal((await obedient.ended()).code, 128 + 15);

  const trap = `trap 'echo caught; exit 5' INT; echo begun; while :; do sleep 0.1; done`;
  const careful = start(world, 'exec', ['sh', '-c', trap]);
  await careful.says('begun');
  careful.child.kill('SIGINT');
  const { code, stdout } = await careful.ended();
  assert.deepEqual([code, stdout], [5, 'begun\ncaught\n']);

  const killed = await run(world, 'exec', ['sh', '-c', 'kill -9 $$']);
  assert.equal(killed.code, 128 + 9);
});

test('on a terminal the command has it, and a key that interrupts does so once', async () => {
  const counting = `count=0; trap 'count=$((count+1)); echo caught $count' INT; test -t 0 && test -t 1 && echo terminal; read line; read line; echo "read $line $count"`;
  const [file, ...args] = world.lab.app.command([
    ...[
      'python3',
      path.join(import.meta.dirname, 'exec-pty.py'),
      process.execPath,
      main,
      'exec',
      ...world.flags,
    ],
    ...['--', 'bash', '-c', counting],
  ]);
  const { execFile } = await import('node:child_process');
  const { promisify } = await import('node:util');
  const { stdout } = await promisify(execFile)(file, args, { timeout: DEADLINE_MS });
  assert.match(stdout, /terminal/);
  assert.match(stdout, /caught 1/);
  assert.match(stdout, /read yes 1/);
  assert.match(stdout, /exit 0/);
});

test('a command that is not there, or not one, has the exit code of shells', async () => {
  const missing = await run(world, 'exec', ['no-such-command-anywhere']);
  assert.equal(missing.code, 127);
  assert.match(missing.stderr, /error COMMAND_MISSING: running "no-such-command-anywhere"/);
  const folder = await run(world, 'exec', ['/']);
  assert.equal(folder.code, 126);
  assert.match(folder.stderr, /error COMMAND_UNUSABLE: running "\/": EACCES/);
});

test('a setting that counts for nothing in a namespace of its own is told, and the command runs', async () => {
  const { code, stdout, stderr } = await run(world, 'exec', ['echo', 'ran'], {
    flags: ['--log-format', 'human'],
    env: { ...process.env, NETPROXY_LOCAL: '10.0.0.0/8', NETPROXY_ON_EXIT: 'open' },
  });
  assert.deepEqual([code, stdout], [0, 'ran\n']);
  assert.match(stderr, /NETPROXY_LOCAL: "local" counts for nothing in "exec"/);
  assert.match(stderr, /NETPROXY_ON_EXIT: "onExit" counts for nothing in "exec"/);
  assert.doesNotMatch(stderr, /"watch"|"strict"|"metadata"|"layers"|"captured"/);
});

test('while the bastion is away the command is not started, and a signal ends the wait', async () => {
  await world.sshd.halt();
  const waiting = start(world, 'exec', ['echo', 'started'], { flags: ['--log-level', 'info'] });
  await waitFor('the first failure', () => waiting.stderr.includes('ECONNREFUSED'), DEADLINE_MS);
  waiting.child.kill('SIGTERM');
  const { code, stdout } = await waiting.ended();
  assert.deepEqual([code, stdout], [128 + 15, '']);
  await world.sshd.start();
});

test('when netproxy is killed the command goes too, and its namespace never had another way out', async () => {
  const { app } = world.lab;
  const { count, lines } = await countLeaks(
    app,
    'eth0',
    async () => {
      const job = start(world, 'exec', [
        ...[
          'sh',
          '-c',
          `(while :; do getent hosts x.example; ping -c1 -W1 ${LAB.other.v4}; sleep 0.1; done) >/dev/null 2>&1 & echo begun $$; wait`,
        ],
      ]);
      await job.says('begun');
      const pid = Number(/begun (\d+)/.exec(job.stdout)?.[1]);
      const isThere = (): boolean => {
        try {
          process.kill(pid, 0);
          return true;
        } catch {
          return false;
        }
      };
      assert.ok(isThere());
      job.child.kill('SIGKILL');
      await waitFor('the end of the command', () => !isThere(), DEADLINE_MS);
    },
    `(ip or ip6) and (port 53 or icmp)`,
  );
  assert.equal(count, 0, lines.join('\n'));
});

test('a port of the command is brought out, to each of several at once', async () => {
  const server = `
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        data = b''
        while (part := self.request.recv(65536)): data += part
        self.request.sendall(data[::-1])
server = socketserver.ThreadingTCPServer(('127.0.0.1', 80), Echo)
print('serving', flush=True)
server.serve_forever()`;
  const job = start(world, 'exec', ['python3', '-c', server], {
    flags: ['--publish', '8080:80,[::1]:8081:80,127.0.0.1:8082:81'],
  });
  await job.says('serving');
  const client = (address: string, port: number): string => `
import socket
s = socket.create_connection(('${address}', ${port}), 10)
s.sendall(b'abc' * 100000); s.shutdown(socket.SHUT_WR)
data = b''
try:
    while (part := s.recv(65536)): data += part
except ConnectionResetError: data = b'reset'
print(data == b'cba' * 100000, data[:5])`;
  const ask = async (address: string, port: number): Promise<string> =>
    (await world.lab.app.run(['python3', '-c', client(address, port)])).stdout;
  const answers = await Promise.all([ask('127.0.0.1', 8080), ask('127.0.0.1', 8080), ask('::1', 8081)]);
  for (const answer of answers) assert.match(answer, /^True/);
  const busy = await run(world, 'exec', ['true'], { flags: ['--publish', '8080:1'] });
  assert.equal(busy.code, 64);
  assert.match(busy.stderr, /error PUBLISH_FAILED: listening at 127\.0\.0\.1:8080/);
  job.child.kill('SIGTERM');
  assert.equal((await job.ended()).code, 128 + 15);
});

test('where there is no resolv.conf that could be covered, questions to resolvers on loopback are captured', async () => {
  const { code, stdout, stderr } = await run(world, 'exec', ['getent', 'ahostsv4', 'far.example'], {
    before: [
      ...['unshare', '-m', 'sh', '-ec'],
      'mount -t tmpfs none /etc; echo "hosts: files dns" > /etc/nsswitch.conf; exec "$@"',
      'sh',
    ],
  });
  assert.match(stdout, new RegExp(`^${SAYS.far} `), stderr);
  assert.equal(code, 0);
});
