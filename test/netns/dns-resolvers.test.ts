/**
 * DNS end to end with the resolvers that people have: unbound, which validates, at the far end; dnsmasq beside the
 * application; and the resolvers of glibc, musl and Node within it.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createLab, LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { dnsmasq, Resolving, SAYS } from './dns-world.ts';
import { signZone, unbound, ZONE } from './unbound-world.ts';
import type { Netproxy } from './world.ts';

const HTTP = 8000;
/** Milliseconds. Clients that try a second family only after this long: whoever is quicker was told that the first fails. */
const PATIENCE_MS = 15_000;
const AT_ONCE_MS = 12_000;
/** Milliseconds. How long musl waits for an answer (`timeout` of resolv.conf(5)). */
const MUSL_MS = 5000;

const directory = mkdtempSync(join(tmpdir(), 'netproxy-dns-resolvers-'));
const zone = join(directory, 'zone');
const look = join(directory, 'look');
before(() => {
  signZone(zone);
  // What programs do: both families at once, the addresses of each name on a line.
  const source = `#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(argv[i], "80", &hints, &found);
    if (error != 0) { printf("%s\\n", gai_strerror(error)); continue; }
    for (struct addrinfo *a = found; a != NULL; a = a->ai_next) {
      char text[64];
      getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
      printf("%s%s", a == found ? "" : " ", text);
    }
    printf("\\n");
  }
}`;
  writeFileSync(`${look}.c`, source);
  for (const [compiler, ...flags] of [['musl-gcc', '-static'], ['gcc']])
    execFileSync(compiler!, [...flags, '-o', `${look}-${compiler}`, `${look}.c`]);
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** A lab with unbound at the far end and dnsmasq beside the application, and netproxy in it. */
class ResolverWorld {
  readonly lab: Lab;
  readonly sshd: Sshd;
  readonly app: Resolving;
  readonly netproxy: Netproxy;
  readonly #configFile: string;
  far: ChildProcess;
  readonly #near: ChildProcess;

  private constructor(
    lab: Lab,
    sshd: Sshd,
    app: Resolving,
    far: ChildProcess,
    near: ChildProcess,
    configFile: string,
  ) {
    this.lab = lab;
    this.sshd = sshd;
    this.app = app;
    this.far = far;
    this.#near = near;
    this.#configFile = configFile;
    this.configure('');
    this.netproxy = app.netproxy(['-c', configFile]);
  }

  static async create(families: readonly (4 | 6)[]): Promise<ResolverWorld> {
    const lab = await createLab({ other: true, families });
    const by4 = families.includes(4);
    const sshd = await startSshd({
      netns: lab.bastion.name,
      address: by4 ? LAB.bastion.v4 : LAB.bastion.v6,
      config: ['Subsystem sftp internal-sftp'],
    });
    const far = await unbound(lab.bastion, '127.0.0.53', zone);
    const servers = by4 ? [LAB.other.v4, LAB.other.v6] : [LAB.other.v6];
    // Of the names of a zone of its own it says that there is no AAAA, and of others REFUSED, as engines' resolvers do.
    const own = [
      `--host-record=db.corp.test,${SAYS.near}`,
      `--host-record=db.odd.test,${SAYS.near}`,
      '--local=/corp.test/',
    ];
    const near = await dnsmasq(lab.other, servers, ...own);
    const app = new Resolving(
      lab.app,
      `search corp.test odd.test\n${servers.map((each) => `nameserver ${each}\n`).join('')}`,
    );
    const file = join(directory, `${lab.app.name}.yaml`);
    const world = new ResolverWorld(lab, sshd, app, far, near, file);
    await world.netproxy.ready();
    // On a slow machine a question is given up before the search for it ends.
    await waitFor('the far resolver', () =>
      world.netproxy.stderr.includes('names are looked for at the far end by'),
    );
    return world;
  }

  configure(dns: string): void {
    const { address: host, port, user, clientKeyFile, knownHostsFile } = this.sshd;
    const text = `bastions: [{ name: main, host: "${host}", port: ${port}, user: ${user}, identityFile: ${clientKeyFile}, knownHostsFile: ${knownHostsFile} }]
dns: { ${dns} }
`;
    writeFileSync(`${this.#configFile}.new`, text);
    renameSync(`${this.#configFile}.new`, this.#configFile);
  }

  /** The same, and waits until it holds. */
  async reconfigure(dns: string): Promise<void> {
    const reloads = (): number => this.netproxy.stderr.split('"changed":[').length;
    const before = reloads();
    this.configure(dns);
    await waitFor('the reload', () => reloads() > before, 20_000);
  }

  async dig(...args: string[]): Promise<string> {
    return (await this.app.run('dig', '+tries=1', ...args)).stdout;
  }

  /** What getaddrinfo of a C library gives, a line for each name, sorted. */
  async look(library: 'musl-gcc' | 'gcc', ...names: string[]): Promise<string[][]> {
    const { stdout, stderr } = await this.app.run(`${look}-${library}`, ...names);
    assert.equal(stderr, '');
    return stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ').toSorted());
  }

  async end(child: ChildProcess): Promise<void> {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  async close(): Promise<void> {
    await this.netproxy.stop();
    await this.end(this.far);
    await this.end(this.#near);
    await this.sshd.stop();
    this.app.remove();
    await this.lab.cleanup();
  }
}

describe('with unbound at the far end', () => {
  let it: ResolverWorld;
  before(async () => void (it = await ResolverWorld.create([4, 6])));
  after(async () => it.close());

  test('it is found, and what it validated is passed on as such', async () => {
    const signed = await it.dig('+dnssec', 'name.test');
    assert.match(signed, /status: NOERROR/);
    assert.match(signed, /flags: qr rd ra ad;/);
    assert.match(signed, /EDNS: version: 0, flags: do;/);
    assert.match(signed, /RRSIG\s+A 8 2 300/);
    assert.match(it.netproxy.stderr, /by 127\.0\.0\.53:53, through main/);
    // Who asks for none gets none.
    assert.doesNotMatch(await it.dig('name.test'), /RRSIG/);
  });

  test('what is bogus is SERVFAIL, but for those who look for themselves', async () => {
    assert.match(await it.dig('bogus.test'), /status: SERVFAIL/);
    assert.equal((await it.dig('+short', '+cd', 'bogus.test')).trim(), '198.51.100.71');
    assert.match(await it.dig('bogus.test'), /status: SERVFAIL/, 'and what they got is kept for no other');
  });

  test('that there is no such name is proven', async () => {
    const none = await it.dig('+dnssec', 'none.test');
    assert.match(none, /status: NXDOMAIN/);
    assert.match(none, /\sNSEC\s/);
    assert.match(none, / ad;/);
  });

  test('answers as large as DNSSEC makes them come whole: by UDP where they fit, else cut, and by TCP', async () => {
    const cut = await it.dig('+dnssec', '+ignore', '+bufsize=1232', 'many.test');
    assert.match(cut, /flags: qr tc rd ra/);
    const size = Number(/MSG SIZE {2}rcvd: (\d+)/.exec(cut)?.[1]);
    assert.ok(size > 1100 && size <= 1232, `${size} bytes`);
    const whole = await it.dig('+dnssec', '+bufsize=1232', 'many.test');
    assert.match(whole, /Truncated, retrying in TCP mode/);
    assert.equal(whole.match(/\sA\s+198\.51\.100\./g)?.length, ZONE.many.length);
    assert.match(whole, /RRSIG\s+A /);
    const keys = await it.dig('+dnssec', '+bufsize=1232', '.', 'DNSKEY');
    assert.equal(keys.match(/\sDNSKEY\s+25[67] /g)?.length, 2);
    assert.equal(
      (await it.dig('+short', '+bufsize=4096', '+ignore', 'many.test')).match(/^198/gm)?.length,
      100,
    );
  });

  test('glibc and Node have all of many addresses, both families, and local names', async () => {
    const [many, name, local] = await it.look('gcc', 'many.test', 'name.test', 'db');
    assert.deepEqual(new Set(many), new Set(ZONE.many));
    assert.deepEqual(name, [ZONE.name.v4, ZONE.name.v6]);
    assert.deepEqual(local, [SAYS.near]);
    const script = `require('node:dns').promises.resolve4('many.test').then((all) => console.log(new Set(all).size))`;
    assert.equal((await it.app.run(process.execPath, '-e', script)).stdout.trim(), '100');
  });

  test('musl: both families by one socket, all resolvers at once, and what fits where it cannot ask by TCP', async () => {
    const [name, six, local, none] = await it.look('musl-gcc', 'name.test', 'six.test', 'db', 'none.test');
    assert.deepEqual(name, [ZONE.name.v4, ZONE.name.v6]);
    assert.deepEqual(six, [ZONE.name.v6]);
    assert.deepEqual(local, [SAYS.near]);
    assert.match(none!.join(' '), /not.* (resolve|exist)|does/i);
    // It takes REFUSED for no answer, and waits; whether one came at once is what this shows.
    const started = performance.now();
    assert.deepEqual(await it.look('musl-gcc', 'db.odd.test'), [[SAYS.near]]);
    assert.ok(performance.now() - started < MUSL_MS);
    // Before 1.2.4 those that fit into 512 bytes, and no more than 48 in any version (MAXADDRS).
    const [many] = await it.look('musl-gcc', 'many.test');
    assert.ok(many!.length >= 25, many!.join(' '));
    assert.ok(many!.every((address) => (ZONE.many as readonly string[]).includes(address)));
  });

  test('dns.aaaa: "no" gives none, "yes" gives all, "auto" those that the bastion has a route to', async () => {
    const given = async (): Promise<string[]> =>
      (await Promise.all(['six.test', 'nowhere6.test'].map((name) => it.dig('+short', name, 'AAAA')))).map(
        (text) => text.trim(),
      );
    assert.deepEqual(await given(), [ZONE.name.v6, '']);
    await it.reconfigure('aaaa: no');
    assert.deepEqual(await given(), ['', '']);
    assert.match(await it.dig('six.test', 'AAAA'), /status: NOERROR/, 'there is the name, without addresses');
    assert.deepEqual((await it.look('musl-gcc', 'name.test'))[0], [ZONE.name.v4]);
    await it.reconfigure('aaaa: yes');
    assert.deepEqual(await given(), [ZONE.name.v6, ZONE.nowhere]);
    await it.reconfigure('aaaa: auto');
    assert.deepEqual(await given(), [ZONE.name.v6, '']);
  });

  test('clients that try both families fail over at once where the far end has no IPv6, or are given none', async () => {
    const page = `require('http').createServer((q, a) => a.end('the page')).listen(${HTTP}, '${LAB.target.v4}')`;
    const web = it.lab.target.spawn([process.execPath, '-e', page], { stdio: 'ignore' });
    await waitForPort(it.lab.target, HTTP);
    const node = `require('node:http').get({ host: 'half.test', port: ${HTTP}, autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: ${PATIENCE_MS} }, (answer) => answer.pipe(process.stdout))`;
    const url = `http://half.test:${HTTP}/`;
    const clients = [
      ['curl', '-sS', '--noproxy', '*', '--happy-eyeballs-timeout-ms', `${PATIENCE_MS}`, url],
      [process.execPath, '--dns-result-order=verbatim', '-e', node],
    ];
    for (const [aaaa, addresses] of [
      ['yes', [ZONE.name.v4, ZONE.nowhere]],
      ['auto', [ZONE.name.v4]],
    ] as const) {
      await it.reconfigure(`aaaa: ${aaaa}`);
      assert.deepEqual((await it.look('gcc', 'half.test'))[0], addresses);
      for (const client of clients) {
        const started = performance.now();
        const { stdout, stderr } = await it.app.run(...client);
        assert.equal(stdout, 'the page', stderr);
        const ms = performance.now() - started;
        assert.ok(ms < AT_ONCE_MS, `${client[0]} took ${ms} ms: it waited, and was not told`);
      }
    }
    await it.end(web);
  });

  test('dns.upstream names a resolver beyond the bastion, by IPv4 and IPv6; one that is not there is told', async () => {
    const beyond = await dnsmasq(it.lab.target, [LAB.target.v4, LAB.target.v6], `--address=/#/${SAYS.far}`);
    for (const upstream of [LAB.target.v4, `[${LAB.target.v6}]:53`]) {
      await it.reconfigure(`upstream: ["${upstream}"]`);
      assert.equal((await it.dig('+short', 'name.test')).trim(), SAYS.far, upstream);
    }
    await it.reconfigure(`upstream: [${LAB.target.v4}:54]`);
    assert.match(await it.dig('name.test'), /status: SERVFAIL/, 'nobody else is asked');
    // The question may be given up before the search is.
    await waitFor('the warning', () =>
      /no resolver answers at the far end of main: only local names are known/.test(it.netproxy.stderr),
    );
    await it.reconfigure('');
    assert.equal((await it.dig('+short', 'name.test')).trim(), ZONE.name.v4);
    await it.end(beyond);
  });

  test('a resolver that moved is found where it is now', async () => {
    await it.end(it.far);
    it.far = await unbound(it.lab.bastion, '127.0.0.1', zone);
    await waitFor(
      'an answer',
      async () => (await it.dig('+short', '+dnssec', 'six.test', 'AAAA')).startsWith(ZONE.name.v6),
      30_000,
    );
    assert.match(it.netproxy.stderr, /by 127\.0\.0\.1:53, through main/);
  });
});

describe('a namespace with IPv6 only', () => {
  let it: ResolverWorld;
  before(async () => void (it = await ResolverWorld.create([6])));
  after(async () => it.close());

  test('has answers for both families, by IPv6, as the far end reaches both', async () => {
    for (const by of ['+notcp', '+tcp']) {
      assert.equal((await it.dig('+short', by, 'name.test')).trim(), ZONE.name.v4);
      assert.equal((await it.dig('+short', by, 'name.test', 'AAAA')).trim(), ZONE.name.v6);
    }
    assert.equal((await it.dig('+short', 'db.corp.test')).trim(), SAYS.near);
    for (const library of ['gcc', 'musl-gcc'] as const) {
      const [name, six, local] = await it.look(library, 'name.test', 'six.test', 'db');
      assert.deepEqual(name, [ZONE.name.v4, ZONE.name.v6], library);
      assert.deepEqual([six, local], [[ZONE.name.v6], [SAYS.near]], library);
    }
  });
});
