/**
 * Rules by what is known of a flow beside its addresses: its names, who opened it, the networks of the kernel. Each
 * flow's line in the log must say what `netproxy explain` says.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { dnsmasq, Resolving } from './dns-world.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

/** Names of the far resolver, each with an address of its own on the target; two share one. */
const NAMES = {
  'exact.test': '198.51.100.101',
  'a.suffix.test': '198.51.100.102',
  'wild-7.test': '198.51.100.103',
  're42.test': '198.51.100.104',
  'other.test': '198.51.100.105',
  'first.cdn.test': '198.51.100.106',
  'second.cdn.test': '198.51.100.106',
} as const;
type Name = keyof typeof NAMES;

const CONTAINER = '0123456789abcdef'.repeat(4);
/** Becomes a route, which it can only where no rule before it could take its flows. */
const DIRECT = `to: [${LAB.bastion.far4}], via: direct`;
const RULES = [
  'names: [exact.test], via: two',
  'names: ["*.suffix.test"], via: "reject:prohibited"',
  'names: ["wild-*.test"], via: reject',
  'names: ["/re[0-9]+\\\\.test/"], via: "reject:host-unreachable"',
  'names: [first.cdn.test], via: two',
  `uid: 4711, ports: [${PORTS.last}], via: two`,
  `gid: 4712, ports: [${PORTS.last}], via: reject`,
  `process: curl, ports: [${PORTS.last}], via: reject`,
  `container: "${CONTAINER.slice(0, 12)}", ports: [${PORTS.last}], via: reject`,
  `cgroup: /np-rules-group, ports: [${PORTS.last}], via: "reject:host-unreachable"`,
  // Of the neighbour on the link, and of no other port of it.
  `to: [${LAB.bastion.v4}], ports: [${PORTS.echo}], via: two`,
  `to: [${LAB.bastion.far6}], ports: [${PORTS.echo}, ${PORTS.closed}], via: direct`,
  `to: [${LAB.target.v6}], ports: [${PORTS.download}], via: reject`,
  `to: [${LAB.target.v6}], ports: [${PORTS.digest}], via: "reject:prohibited"`,
  `to: ["2001:db8:2::/64"], ports: [${PORTS.last}], via: "reject:host-unreachable"`,
  `to: [${LAB.target.v4}], ports: [${PORTS.echo}], via: two`,
  `to: [${LAB.target.v4}], ports: [${PORTS.echo}, ${PORTS.closed}], via: reject`,
];

let world: World;
let second: Sshd;
let resolver: ChildProcess;
let app: Resolving;
let netproxy: Netproxy;
let configFile: string;
/** Where the first of RULES stands in the file. */
let firstRuleLine = 0;

const entry = (name: string, sshd: Sshd): string =>
  `  - { name: ${name}, host: ${LAB.bastion.v4}, port: ${sshd.port}, user: ${sshd.user}, identityFile: ${sshd.clientKeyFile}, knownHostsFile: ${sshd.knownHostsFile} }`;

function configure(rules: readonly string[]): void {
  const lines = [
    'bastions:',
    entry('one', world.sshd),
    entry('two', second),
    'groups: [{ name: last, bastions: [one] }]',
    'log: { level: debug }',
    'rules:',
  ];
  firstRuleLine = lines.length + 2;
  const all = [DIRECT, ...rules].map((rule) => `  - { ${rule} }`);
  writeFileSync(`${configFile}.new`, [...lines, ...all, ''].join('\n'));
  renameSync(`${configFile}.new`, configFile);
}

before(async () => {
  world = await World.create();
  const { app: application, bastion, target } = world.lab;
  await target.ip(...[...new Set(Object.values(NAMES))].map((address) => `addr add ${address}/24 dev eth0`));
  second = await startSshd({ netns: bastion.name, address: LAB.bastion.v4, port: 2223 });
  bastion.spawn([process.execPath, join(import.meta.dirname, 'target.ts')], { stdio: 'ignore' }).unref();
  await waitForPort(bastion, PORTS.echo);
  const records = Object.entries(NAMES).map(([name, address]) => `--host-record=${name},${address}`);
  resolver = await dnsmasq(bastion, ['127.0.0.53'], ...records, '--local=/test/');
  app = new Resolving(application, `nameserver ${LAB.target.v4}\n`);
  configFile = join(world.sshd.directory, 'netproxy.yaml');
  configure(RULES);
  netproxy = world.bare(['-c', configFile]);
  await netproxy.ready(30_000);
});
after(async () => {
  await netproxy?.stop('SIGKILL');
  resolver?.kill();
  await second?.stop();
  app?.remove();
  await world?.close();
});

/** Connects as a program in the application's namespace; gives `connected` or the errno, and how long it took. */
async function open(
  host: string,
  port: number,
  ...lead: readonly string[]
): Promise<{ said: string; ms: number }> {
  const script = `const at = performance.now();
const done = (said) => { console.log(JSON.stringify({ said, ms: performance.now() - at })); process.exit(); };
require('net').connect({ host: '${host}', port: ${port}, autoSelectFamily: false })
  .on('connect', () => done('connected')).on('error', (error) => done(error.code));`;
  const argv = [...lead, process.execPath, '-e', script];
  // The view of /etc that names take hides control groups.
  const { stdout, stderr } = await (isIP(host) === 0
    ? app.run(...argv)
    : world.lab.app.run(argv, { mayFail: true }));
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as { said: string; ms: number };
}

/** Milliseconds. Who waits for an answer that does not come waits for seconds. */
const AT_ONCE_MS = 900;

/** The quickest of three: a stall of the machine does not meet each. */
async function openAtOnce(host: string, port: number): Promise<string> {
  let found = await open(host, port);
  for (let again = 0; again < 2 && found.ms >= AT_ONCE_MS; again++) found = await open(host, port);
  assert.ok(found.ms < AT_ONCE_MS, `it took ${found.ms} ms`);
  return found.said;
}

interface Line {
  readonly verdict?: string;
  readonly rule?: string;
  readonly because?: string;
}

/** Lines of the log about flows to there. */
function lines(address: string, port: number): Line[] {
  const to = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return netproxy.stderr
    .split('\n')
    .slice(0, -1)
    .filter((line) => line.includes(`"to":"${to}"`))
    .map((line) => JSON.parse(line) as Line);
}

interface Expected {
  readonly verdict: string;
  /** Number of the rule; undefined: the last resort. */
  readonly rule: number | undefined;
  readonly because?: string;
}

/** The latest flow to there was decided on so, and `netproxy explain` with these flags says the same. */
async function decided(
  address: string,
  port: number,
  { verdict, rule, because }: Expected,
  host: string,
  ...flags: readonly string[]
): Promise<void> {
  const place = rule === undefined ? undefined : `${configFile}:${firstRuleLine + rule}`;
  // A flow has its line at its end, which its application need not wait for.
  await waitFor(
    `a flow to ${address} that is decided on so: ${verdict}, ${place ?? 'the last resort'}`,
    () => {
      const { verdict: last, rule: by } = lines(address, port).at(-1) ?? {};
      return (
        last === verdict && (place === undefined ? by === 'the last resort' : by?.startsWith(`${place} `))
      );
    },
  );
  const line = lines(address, port).at(-1)!;
  if (because !== undefined) assert.equal(line.because, because);
  const target = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const said = await world.command('explain', '-c', configFile, target, ...flags, '--json');
  const told = JSON.parse(said) as {
    verdict: { kind: string; upstream?: string };
    rule: { where: string; text: string };
    why: string;
  };
  assert.equal(told.verdict.upstream ?? told.verdict.kind, verdict, said);
  assert.equal(told.rule.where, place ?? 'built-in', said);
  if (place !== undefined) assert.equal(line.rule, `${told.rule.where} ${told.rule.text}`);
}

const byName: readonly (readonly [Name, string, Expected])[] = [
  ['exact.test', 'connected', { verdict: 'two', rule: 0, because: 'name exact.test' }],
  ['a.suffix.test', 'EHOSTUNREACH', { verdict: 'reject', rule: 1, because: 'name a.suffix.test' }],
  ['wild-7.test', 'ECONNREFUSED', { verdict: 'reject', rule: 2, because: 'name wild-7.test' }],
  ['re42.test', 'EHOSTUNREACH', { verdict: 'reject', rule: 3, because: 'name re42.test' }],
  ['other.test', 'connected', { verdict: 'last', rule: undefined }],
];
for (const [name, said, expected] of byName) {
  test(`a rule knows the name that was asked for: ${name}`, async () => {
    const found = await open(name, PORTS.echo);
    assert.equal(found.said, said, netproxy.stderr);
    // Owners are of no matter to this port: explain need not know them.
    await decided(NAMES[name], PORTS.echo, expected, name, '--address', NAMES[name]);
  });
}

test('an address that nobody asked for by name has none', async () => {
  await world.lab.target.ip('addr add 198.51.100.110/24 dev eth0');
  assert.equal((await open('198.51.100.110', PORTS.echo)).said, 'connected');
  await decided('198.51.100.110', PORTS.echo, { verdict: 'last', rule: undefined }, '198.51.100.110');
});

test('of names that share an address any matches, also after the other was asked for', async () => {
  const address = NAMES['first.cdn.test'];
  assert.equal((await open('second.cdn.test', PORTS.echo)).said, 'connected');
  await waitFor('the log', () => lines(address, PORTS.echo).some(({ verdict }) => verdict === 'last'));
  assert.equal((await open('first.cdn.test', PORTS.echo)).said, 'connected');
  assert.equal((await open('second.cdn.test', PORTS.echo)).said, 'connected');
  await waitFor('the log', () => lines(address, PORTS.echo).at(-1)?.verdict === 'two');
  const { because } = lines(address, PORTS.echo).at(-1)!;
  assert.equal(because, 'name first.cdn.test');
});

const OWNED = LAB.target.v4;

test('a rule asks for the user, and for the group of users', async () => {
  const uid = await open(OWNED, PORTS.last, 'setpriv', '--reuid=4711', '--clear-groups');
  assert.equal(uid.said, 'connected');
  await decided(
    OWNED,
    PORTS.last,
    { verdict: 'two', rule: 5, because: `port ${PORTS.last}, uid 4711` },
    OWNED,
    '--uid',
    '4711',
  );
  const gid = await open(OWNED, PORTS.last, 'setpriv', '--regid=4712', '--clear-groups');
  assert.equal(gid.said, 'ECONNREFUSED', netproxy.stderr);
  const because = `port ${PORTS.last}, gid 4712`;
  await decided(
    OWNED,
    PORTS.last,
    { verdict: 'reject', rule: 6, because },
    OWNED,
    '--uid',
    '0',
    '--gid',
    '4712',
  );
});

test('a rule asks for the process', async () => {
  const { code } = await app.run('curl', '-sS', '-m10', `http://${OWNED}:${PORTS.last}/`);
  assert.equal(code, 7, 'curl: failed to connect');
  const who = ['--uid', '0', '--gid', '0', '--process', 'curl'];
  await decided(OWNED, PORTS.last, { verdict: 'reject', rule: 7 }, OWNED, ...who);
  assert.match(lines(OWNED, PORTS.last).at(-1)!.because ?? '', /^port 9003, process .*curl/);
  assert.equal((await open(OWNED, PORTS.last)).said, 'connected', 'another program');
  const last = { verdict: 'last', rule: undefined } as const;
  const other = ['--container', 'f'.repeat(64), '--cgroup', '/other'];
  await decided(OWNED, PORTS.last, last, OWNED, ...who.slice(0, 5), 'node', ...other);
});

/** A control group below one that may be written, of version 2 where there is one. */
function makeGroup(name: string): string | undefined {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const ofKind = (kind: string): string[] =>
    mounts.flatMap((line) => (line.includes(` - ${kind} `) ? (line.split(' ')[4] ?? []) : []));
  for (const root of [...ofKind('cgroup2'), ...ofKind('cgroup')]) {
    try {
      mkdirSync(join(root, name), { recursive: true });
      return join(root, name);
    } catch {
      // Read-only, as containers have it.
    }
  }
  return undefined;
}

for (const [what, name, said, expected] of [
  ['container', `np-rules-${CONTAINER}.scope`, 'ECONNREFUSED', { verdict: 'reject', rule: 8 }],
  ['cgroup', 'np-rules-group', 'EHOSTUNREACH', { verdict: 'reject', rule: 9 }],
] as const) {
  const folder = makeGroup(name);
  const reason = 'no control group can be made here: every cgroup file system is read-only';
  test(`a rule asks for the ${what}`, { skip: folder === undefined && reason }, async () => {
    assert.ok(folder !== undefined);
    try {
      const enter = ['sh', '-c', `echo $$ > ${folder}/cgroup.procs && exec "$@"`, 'sh'];
      assert.equal((await open(OWNED, PORTS.last, ...enter)).said, said, netproxy.stderr);
      const who = ['--uid', '0', '--gid', '0', '--process', 'node'];
      const group = [
        '--container',
        what === 'container' ? CONTAINER : 'f'.repeat(64),
        '--cgroup',
        `/${name}`,
      ];
      await decided(OWNED, PORTS.last, expected, OWNED, ...who, ...group);
    } finally {
      rmdirSync(folder);
    }
  });
}

test('a rule captures what it names of a network that is local, and nothing else of it', async () => {
  assert.equal((await open(LAB.bastion.v4, PORTS.echo)).said, 'connected');
  await decided(LAB.bastion.v4, PORTS.echo, { verdict: 'two', rule: 10 }, LAB.bastion.v4);
  assert.equal((await open(LAB.bastion.v4, PORTS.digest)).said, 'connected');
  assert.deepEqual(lines(LAB.bastion.v4, PORTS.digest), [], 'it went past netproxy');
});

test('a network that is direct whatever the port is a route past the TUN, for netproxy to have no part in', async () => {
  const [route] = await world.lab.app.ipJson<{ dev: string }[]>('route', 'get', LAB.bastion.far4);
  assert.equal(route?.dev, 'eth0');
  assert.equal((await open(LAB.bastion.far4, PORTS.echo)).said, 'connected');
  assert.deepEqual(lines(LAB.bastion.far4, PORTS.echo), []);
});

test('direct TCP over IPv6 echoes every byte, and a closed port is refused', async () => {
  const bytes = 1024 * 1024;
  const { far6 } = LAB.bastion;
  const echo = await world.client<{ bytes: number }>('echo', far6, PORTS.echo, bytes);
  assert.equal(echo.bytes, bytes, netproxy.stderr);
  await decided(far6, PORTS.echo, { verdict: 'direct', rule: 11 }, far6);
  assert.equal((await open(far6, PORTS.closed)).said, 'ECONNREFUSED');
});

for (const [port, said, rule] of [
  [PORTS.download, 'ECONNREFUSED', 12],
  [PORTS.digest, 'EACCES', 13],
  [PORTS.last, 'EHOSTUNREACH', 14],
] as const) {
  test(`what is rejected over IPv6 is seen at once: ${said}`, async () => {
    assert.equal(await openAtOnce(LAB.target.v6, port), said);
    const who = port === PORTS.last ? ['--uid', '0', '--gid', '0', '--process', 'node'] : [];
    const group = port === PORTS.last ? ['--container', 'f'.repeat(64), '--cgroup', '/other'] : [];
    await decided(LAB.target.v6, port, { verdict: 'reject', rule }, LAB.target.v6, ...who, ...group);
  });
}

test('the first rule that matches decides', async () => {
  assert.equal((await open(LAB.target.v4, PORTS.echo)).said, 'connected');
  await decided(LAB.target.v4, PORTS.echo, { verdict: 'two', rule: 15 }, LAB.target.v4);
  assert.equal(await openAtOnce(LAB.target.v4, PORTS.closed), 'ECONNREFUSED');
  await decided(LAB.target.v4, PORTS.closed, { verdict: 'reject', rule: 16 }, LAB.target.v4);
});

test('other rules hold for new flows only: one by name that is open now rejected goes on', async () => {
  const script = `const socket = require('net').connect({ host: 'exact.test', port: ${PORTS.echo}, autoSelectFamily: false });
socket.on('data', (data) => process.stdout.write(data)).on('error', (error) => console.log(error.code));
process.stdin.pipe(socket);`;
  const { name } = world.lab.app;
  const child = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stdin.write('before ');
  await waitFor('the echo', () => said === 'before ');
  configure(['names: [exact.test], via: reject']);
  await waitFor('the reload', () => netproxy.stderr.includes('"changed":["rules"]'), 20_000);
  const found = await open('exact.test', PORTS.echo);
  assert.equal(found.said, 'ECONNREFUSED');
  await decided(NAMES['exact.test'], PORTS.echo, { verdict: 'reject', rule: 0 }, 'exact.test');
  child.stdin.end('after');
  await once(child, 'close');
  assert.equal(said, 'before after');
});
