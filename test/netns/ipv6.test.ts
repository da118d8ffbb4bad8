/** IPv6: literals, targets with both families, far ends without it, namespaces with nothing else. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { countLeaks, LAB, LEAK_FILTER, waitForPort } from '../lab/namespaces.ts';
import type { RunResult } from '../lab/namespaces.ts';
import { World } from './world.ts';
import type { Netproxy, WorldOptions } from './world.ts';

const HTTP = 8000;
/** Clients that try a second family only after this long: whoever is quicker was told that the first fails. */
const PATIENCE_MS = 15_000;
const AT_ONCE_MS = 12_000;

const folder = mkdtempSync(join(tmpdir(), 'netproxy-ipv6-'));
writeFileSync(join(folder, 'page'), 'the page');
after(() => rmSync(folder, { recursive: true, force: true }));

interface Client {
  readonly code: number | null;
  readonly text: string;
  readonly ms: number;
}

/** A world with web servers and a resolver on its target, and netproxy in it. */
class Ipv6World {
  readonly world: World;
  readonly netproxy: Netproxy;
  readonly #servers: readonly ChildProcess[];

  private constructor(world: World, netproxy: Netproxy, servers: readonly ChildProcess[]) {
    this.world = world;
    this.netproxy = netproxy;
    this.#servers = servers;
  }

  static async create(options: WorldOptions): Promise<Ipv6World> {
    const world = await World.create({ config: ['SetEnv HOME=/nonexistent'], ...options });
    const { target } = world.lab;
    const web = [
      '/usr/bin/python3',
      '-m',
      'http.server',
      String(HTTP),
      '--bind',
      '::',
      '--directory',
      folder,
    ];
    const dns = ['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts'];
    const names = ['--address=/name.test/2001:db8:2::99', '--user=root', '--pid-file='];
    const echo = join(import.meta.dirname, 'udp-server.py');
    const servers = [web, [...dns, ...names], ['/usr/bin/python3', echo, LAB.target.v4, LAB.target.v6]].map(
      (argv) => target.spawn(argv, { stdio: 'ignore' }),
    );
    await waitForPort(target, HTTP);
    await waitForPort(target, 53);
    const rule = `protocol: udp, ports: [7007], via: relay`;
    const netproxy = world.bare([...world.flags, '--log-level', 'info', '--rule', rule]);
    await netproxy.ready();
    return new Ipv6World(world, netproxy, servers);
  }

  async run(argv: readonly string[]): Promise<Client> {
    const started = performance.now();
    const done: RunResult = await this.world.lab.app.run(argv, { mayFail: true, timeoutMs: 30_000 });
    return { code: done.code, text: done.stdout + done.stderr, ms: performance.now() - started };
  }

  /** A page of a host whose name has these addresses, in this order. */
  curl(...addresses: readonly string[]): Promise<Client> {
    const list = addresses.map((address) => (address.includes(':') ? `[${address}]` : address)).join(',');
    return this.run([
      ...['curl', '-sS', '--noproxy', '*', '--connect-timeout', '20'],
      ...['--happy-eyeballs-timeout-ms', String(PATIENCE_MS), '--resolve', `both.test:${HTTP}:${list}`],
      `http://both.test:${HTTP}/page`,
    ]);
  }

  /** The same by Node, whose clients try both families (`autoSelectFamily`). */
  node(...addresses: readonly string[]): Promise<Client> {
    const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    const script = `require('node:http').get({ host: 'both.test', port: ${HTTP}, path: '/page',
      autoSelectFamily: true, autoSelectFamilyAttemptTimeout: ${PATIENCE_MS},
      lookup: (host, options, done) => done(null, ${JSON.stringify(found)}),
    }, (answer) => answer.pipe(process.stdout)).on('error', (error) => console.log(error.code))`;
    return this.run([process.execPath, '-e', script]);
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.kill('SIGKILL');
    await this.world.close();
  }
}

/** What works in every world: literals by TCP, UDP, DNS and ping, and no packet beside the tunnel. */
function everything(of: () => Ipv6World, families: readonly (4 | 6)[], uplink: 4 | 6): void {
  test('TCP, UDP, DNS and ping reach an IPv6 literal, and nothing leaves beside the tunnel', async () => {
    const it = of();
    const to = LAB.target.v6;
    const bastion = uplink === 6 ? LAB.bastion.v6 : LAB.bastion.v4;
    const { count, lines } = await countLeaks(
      it.world.lab.app,
      'eth0',
      async () => {
        const page = await it.run(['curl', '-sS', '-g', '-m', '10', `http://[${to}]:${HTTP}/page`]);
        assert.equal(page.text, 'the page');
        const script = `import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.connect(('${to}', 7007)); s.settimeout(10)
s.send(b'x'); print(s.recv(9))`;
        assert.equal((await it.run(['/usr/bin/python3', '-c', script])).text.trim(), "b'x'");
        const dig = await it.run(['dig', '+short', '+tries=1', `@${to}`, 'name.test', 'AAAA']);
        assert.equal(dig.text.trim(), '2001:db8:2::99');
        const ping = await it.run(['ping', '-c1', '-W5', to]);
        assert.equal(ping.code, 0, ping.text);
      },
      `${LEAK_FILTER} and not host ${bastion}`,
    );
    assert.equal(count, 0, lines.join('\n'));
  });

  test('errors of IPv6 are those of the far end, at once', async () => {
    const it = of();
    const script = `import socket, sys
for to, port in (('${LAB.target.v6}', 9), ('${LAB.unreachable.v6}', 80), ('${LAB.networkless.v6}', 80)):
    try: socket.create_connection((to, port), 20)
    except OSError as e: print(e.errno)`;
    const { text, ms } = await it.run(['/usr/bin/python3', '-c', script]);
    // ECONNREFUSED; then EHOSTUNREACH or ENETUNREACH, since sshd gives no reason for what fails at once.
    assert.match(text, /^111\n(113|101)\n101\n$/);
    assert.ok(ms < AT_ONCE_MS, `took ${ms} ms`);
  });

  for (const client of ['curl', 'node'] as const) {
    test(`${client} has a page of a target with both families, whichever comes first`, async () => {
      const it = of();
      const { v4, v6 } = LAB.target;
      for (const order of [
        [v6, v4],
        [v4, v6],
      ]) {
        const { text, ms } = await it[client](...order);
        assert.equal(text, 'the page');
        assert.ok(ms < AT_ONCE_MS, `took ${ms} ms`);
      }
    });

    for (const what of ['networkless', 'unreachable', 'prohibited'] as const) {
      test(`${client} goes on to IPv4 at once when the far end has no IPv6 (${what})`, async () => {
        const it = of();
        const { text, ms } = await it[client](LAB[what].v6, LAB.target.v4);
        assert.equal(text, 'the page');
        assert.ok(ms < AT_ONCE_MS, `took ${ms} ms: it waited, and was not told`);
      });
    }
  }

  test(`an address of the other family ${families.includes(4) ? 'works' : 'works, though the namespace has none of it'}`, async () => {
    const page = await of().run(['curl', '-sS', '-m', '10', `http://${LAB.target.v4}:${HTTP}/page`]);
    assert.equal(page.text, 'the page');
  });
}

const WORLDS: readonly (readonly [string, readonly (4 | 6)[], 4 | 6])[] = [
  ['a namespace with both families, and a bastion by IPv4', [4, 6], 4],
  ['a namespace with both families, and a bastion by IPv6', [4, 6], 6],
  ['a namespace with IPv6 only', [6], 6],
  ['a namespace with IPv4 only', [4], 4],
];

for (const [name, families, by] of WORLDS) {
  describe(name, () => {
    let it: Ipv6World;
    before(async () => void (it = await Ipv6World.create({ families, by })));
    after(async () => it.close());
    everything(() => it, families, by);
  });
}
