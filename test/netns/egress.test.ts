/** `--allow`, `--report` and `record`: what a command connects to, and what of it is refused. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { parse } from 'yaml';
import { LAB } from '../lab/namespaces.ts';
import { dnsmasq, SAYS } from './dns-world.ts';
import { run } from './exec-lab.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-egress-'));
const file = (name: string): string => path.join(directory, name);
let world: World;
let resolver: ChildProcess;
before(async () => {
  world = await World.create();
  resolver = await dnsmasq(world.lab.bastion, ['127.0.0.53'], `--address=/#/${SAYS.far}`);
});
after(async () => {
  resolver.kill();
  await world.close();
  rmSync(directory, { recursive: true });
});

/** Connects by name and by address, and says for each what came of it. */
const CONNECTS = `
import socket
for host, port in [('db.far.example', ${PORTS.echo}), ('${LAB.target.v6}', ${PORTS.echo}), ('${LAB.target.v4}', ${PORTS.closed})]:
    try: socket.create_connection((host, port), 20); print('connected')
    except OSError as error: print(error.strerror)
`;
const command = ['python3', '-c', CONNECTS];

interface Report {
  readonly ok: boolean;
  readonly refused: number;
  readonly destinations: readonly {
    readonly protocol: string;
    readonly address: string;
    readonly port: number;
    readonly name?: string;
    readonly connections: number;
    readonly allowed: boolean;
  }[];
}

test('what the list does not allow is refused, told, and makes the exit code 77', async () => {
  writeFileSync(file('some.yaml'), `- { names: ["*.far.example"], ports: [${PORTS.echo}] }\n`);
  const flags = ['--allow', file('some.yaml'), '--report', file('report.json')];
  const { code, stdout, stderr } = await run(world, 'exec', command, { flags });
  assert.equal(stdout, 'connected\nConnection refused\nConnection refused\n');
  assert.equal(code, 77);
  assert.match(stderr, /error EGRESS_REFUSED: .*some\.yaml does not allow tcp \[2001:db8:2::80\]:9004, tcp/);
  const report = JSON.parse(readFileSync(file('report.json'), 'utf8')) as Report;
  assert.deepEqual([report.ok, report.refused], [false, 2]);
  assert.deepEqual(
    report.destinations.map(({ address, port, name, allowed }) => [address, port, name, allowed]),
    [
      [LAB.target.v4, PORTS.echo, 'db.far.example', true],
      [LAB.target.v6, PORTS.echo, undefined, false],
      [LAB.target.v4, PORTS.closed, 'db.far.example', false],
    ],
  );
});

test('what is recorded as rules allows the same, and no more', async () => {
  const { code, stderr } = await run(world, 'record', command, { flags: ['--output', file('all.yaml')] });
  assert.equal(code, 0, stderr);
  const again = await run(world, 'exec', command, { flags: ['--allow', file('all.yaml')] });
  assert.equal(again.stdout, 'connected\nconnected\nConnection refused\n');
  assert.equal(again.code, 0, again.stderr);
  const other = `import socket; socket.create_connection(('${LAB.target.v6}', ${PORTS.digest}), 20)`;
  const more = await run(world, 'exec', ['python3', '-c', other], { flags: ['--allow', file('all.yaml')] });
  assert.equal(more.code, 77);
});

test('sshd keeps to what is recorded for it, and netproxy still works', async () => {
  const { code, stdout, stderr } = await run(world, 'record', command, { flags: ['--format', 'permitopen'] });
  assert.equal(code, 0, stderr);
  const line = stdout.split('\n').find((one) => one.startsWith('PermitOpen '));
  assert.ok(line !== undefined, stdout);
  assert.match(
    line,
    new RegExp(`${LAB.target.v4}:${PORTS.echo}.*\\[2001:db8:2::80\\]:${PORTS.echo}.*127\\.0\\.0\\.53:53`),
  );
  const strict = await World.create({ config: [line] });
  const found = await dnsmasq(strict.lab.bastion, ['127.0.0.53'], `--address=/#/${SAYS.far}`);
  try {
    const same = await run(strict, 'exec', command);
    assert.equal(same.stdout, 'connected\nconnected\nConnection refused\n', same.stderr);
    const other = await run(strict, 'exec', [
      ...['python3', '-c'],
      `import socket; socket.create_connection(('${LAB.target.v4}', ${PORTS.digest}), 20)`,
    ]);
    assert.equal(other.code, 1);
    assert.match(other.stderr, /No route to host/);
  } finally {
    found.kill();
    await strict.close();
  }
});

test('a NetworkPolicy has each address with its ports', async () => {
  const { stdout } = await run(world, 'record', command, { flags: ['--format', 'networkpolicy'] });
  const policy = parse(stdout.slice(stdout.indexOf('# Written'))) as {
    kind: string;
    spec: { policyTypes: string[]; egress: { to: object[]; ports: object[] }[] };
  };
  assert.equal(policy.kind, 'NetworkPolicy');
  assert.deepEqual(policy.spec.policyTypes, ['Egress']);
  assert.deepEqual(policy.spec.egress, [
    {
      to: [{ ipBlock: { cidr: `${LAB.target.v4}/32` } }],
      ports: [
        { protocol: 'TCP', port: PORTS.echo },
        { protocol: 'TCP', port: PORTS.closed },
      ],
    },
    {
      to: [{ ipBlock: { cidr: `${LAB.target.v6}/128` } }],
      ports: [{ protocol: 'TCP', port: PORTS.echo }],
    },
  ]);
});

test('a list or report that cannot be used is told before anything is started', async () => {
  writeFileSync(file('wrong.yaml'), '- { hosts: [x], ports: [0] }\n');
  const wrong = await run(world, 'exec', ['touch', file('ran')], { flags: ['--allow', file('wrong.yaml')] });
  assert.equal(wrong.code, 64);
  assert.match(wrong.stderr, /wrong\.yaml:1:\d+ .*hosts: no such key/);
  const missing = await run(world, 'exec', ['touch', file('ran')], { flags: ['--allow', file('none.yaml')] });
  assert.match(missing.stderr, /error CONFIG_UNREADABLE: .*none\.yaml: ENOENT/);
  const closed = await run(world, 'exec', ['touch', file('ran')], { flags: ['--report', '/no/where'] });
  assert.equal(closed.code, 64);
  assert.match(closed.stderr, /error REPORT_UNWRITABLE: /);
  assert.throws(() => statSync(file('ran')));
});
