/**
 * Names that rules send to several bastions: two machines, each with an sshd and a resolver of its own, which give the
 * same names different addresses.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createLab, LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { dnsmasq, Resolving } from './dns-world.ts';
import type { Netproxy } from './world.ts';

/** What the resolver of each bastion says to every name. Only the second bastion has this one of its addresses. */
const SAYS = { one: '198.51.100.81', two: '203.0.113.50', configured: '203.0.113.51' } as const;
const OTHER_DNS_PORT = 5353;
const HTTP = 8000;

let lab: Lab;
let one: Sshd;
let two: Sshd;
let app: Resolving;
let netproxy: Netproxy;
const directory = mkdtempSync(join(tmpdir(), 'netproxy-dns-upstreams-'));
const configFile = join(directory, 'netproxy.yaml');
const children: ChildProcess[] = [];

const entry = (name: string, { address, port, user, clientKeyFile, knownHostsFile }: Sshd): string =>
  `  - { name: ${name}, host: ${address}, port: ${port}, user: ${user}, identityFile: ${clientKeyFile}, knownHostsFile: ${knownHostsFile} }`;

function configure(
  rules: readonly string[],
  more = '',
  bastions = [entry('one', one), entry('two', two)],
): void {
  const text = [
    'bastions:',
    ...bastions,
    'groups:',
    '  - { name: first, bastions: [one] }',
    ...(bastions.length > 1 ? ['  - { name: second, bastions: [two] }'] : []),
    'log: { level: debug }',
    more,
    rules.length === 0 ? '' : `rules:\n${rules.map((rule) => `  - { ${rule} }`).join('\n')}`,
  ].join('\n');
  writeFileSync(`${configFile}.new`, `${text}\n`);
  renameSync(`${configFile}.new`, configFile);
}

/** The same, and waits until it holds. */
async function reconfigure(...args: Parameters<typeof configure>): Promise<void> {
  const reloads = (): number => netproxy.stderr.split('"changed":[').length;
  const before = reloads();
  configure(...args);
  await waitFor('the reload', () => reloads() > before, 20_000);
}

/** Names that a resolver was asked for, but for those of probes. */
const asked = (which: string): string[] =>
  [...readFileSync(join(directory, which), 'utf8').matchAll(/query\[\w+\] (\S+\.test) from/g)].map(
    (match) => match[1]!,
  );

const dig = async (name: string, ...more: string[]): Promise<string> =>
  (await app.run('dig', '+tries=1', '+short', ...more, name)).stdout.trim();

before(async () => {
  lab = await createLab({ other: true });
  await lab.other.ip(`addr add ${SAYS.two}/32 dev lo`);
  const log = (name: string): string[] => ['--log-queries', `--log-facility=${join(directory, name)}`];
  children.push(
    await dnsmasq(lab.bastion, ['127.0.0.53'], `--address=/#/${SAYS.one}`, ...log('one')),
    await dnsmasq(lab.other, ['127.0.0.53'], `--address=/#/${SAYS.two}`, ...log('two')),
    await dnsmasq(lab.other, ['127.0.0.54'], `--address=/#/${SAYS.configured}`, `--port=${OTHER_DNS_PORT}`),
  );
  await waitForPort(lab.other, OTHER_DNS_PORT);
  const page = `require('http').createServer((q, a) => a.end('from two')).listen(${HTTP}, '${SAYS.two}')`;
  children.push(lab.other.spawn([process.execPath, '-e', page], { stdio: 'ignore' }));
  await waitForPort(lab.other, HTTP);
  one = await startSshd({ netns: lab.bastion.name, address: LAB.bastion.v4 });
  two = await startSshd({ netns: lab.other.name, address: LAB.other.v4 });
  app = new Resolving(lab.app, `nameserver ${LAB.target.v4}\n`);
  configure(['names: ["*.two.test"], via: two']);
  netproxy = app.netproxy(['-c', configFile]);
  await netproxy.ready();
  // On a slow machine a question is given up before the search for it ends.
  await waitFor('the far resolver', () => netproxy.stderr.includes('names are looked for at the far end by'));
});
after(async () => {
  await netproxy?.stop();
  for (const child of children) child.kill();
  await two?.stop();
  await one?.stop();
  app?.remove();
  await lab?.cleanup();
  rmSync(directory, { recursive: true, force: true });
});

test("a name is asked of the resolver of the bastion that its rule names, and of no other's", async () => {
  for (const by of ['+notcp', '+tcp']) {
    assert.equal(await dig('a.two.test', by), SAYS.two);
    assert.equal(await dig('a.one.test', by), SAYS.one);
  }
  assert.match(netproxy.stderr, /by 127\.0\.0\.53:53, through first/);
  assert.match(netproxy.stderr, /by 127\.0\.0\.53:53, through two/);
  await waitFor('the logs', () => asked('one').length > 0 && asked('two').length > 0);
  assert.deepEqual(new Set(asked('two')), new Set(['a.two.test']));
  assert.ok(!asked('one').includes('a.two.test'));
});

test('the connection goes where the name was looked up, and where alone its address is', async () => {
  const { stdout, stderr } = await app.run('curl', '-sS', '-m20', `http://www.two.test:${HTTP}/`);
  assert.equal(stdout, 'from two', stderr);
  // Written once both halves are closed, which is after curl has ended.
  const line = await waitFor('the line of the flow', () =>
    netproxy.stderr.split('\n').find((each) => each.includes(`"to":"${SAYS.two}:${HTTP}"`)),
  );
  assert.match(line, /"because":"name www\.two\.test"/);
});

test('when rules change, the same name has another address at once, and its old one again afterwards', async () => {
  assert.equal(await dig('same.test'), SAYS.one);
  await reconfigure(['names: [same.test], via: second']);
  assert.equal(await dig('same.test'), SAYS.two, 'what the other network said is not given');
  assert.match(netproxy.stderr, /by 127\.0\.0\.53:53, through second/);
  await reconfigure(['names: [same.test], via: one']);
  assert.equal(await dig('same.test'), SAYS.one);
});

test('a rule that takes every flow takes every name', async () => {
  await reconfigure(['names: [one.test], via: one', 'via: two']);
  assert.deepEqual([await dig('one.test'), await dig('any.test')], [SAYS.one, SAYS.two]);
});

test('dns.upstream names the resolver of another bastion', async () => {
  const dns = `dns: { upstream: ["two=127.0.0.54:${OTHER_DNS_PORT}"] }`;
  await reconfigure(['names: ["*.two.test"], via: two'], dns);
  assert.deepEqual([await dig('b.two.test'), await dig('b.one.test')], [SAYS.configured, SAYS.one]);
});

test('a bastion that is removed ends its channel to the resolver, and names go to those that are left', async () => {
  const ended = (): number => two.log().split('Disconnected from').length;
  const before = ended();
  await reconfigure([], '', [entry('one', one)]);
  await waitFor('the end of the connection', () => ended() > before, 30_000);
  assert.equal(await dig('c.two.test'), SAYS.one);
});
