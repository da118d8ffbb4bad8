/** `netproxy explain` and what `check` says of rules, on the command line. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { dispatch } from '../../src/cli/dispatch.ts';

let folder = '';
let file = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'netproxy-explain-'));
  file = join(folder, 'netproxy.yaml');
  writeFileSync(join(folder, 'key'), 'KEY');
  writeFileSync(join(folder, 'hosts'), 'h ssh-ed25519 AAAA\n');
  writeFileSync(
    file,
    `bastions:
  - { name: main, host: h, user: u, identityFile: ${folder}/key, knownHostsFile: ${folder}/hosts }
local: [10.30.0.0/16]
rules:
  - { to: [10.20.0.0/16], ports: [5432], via: main }
  - { uid: 1000, via: direct }
  - { to: [10.20.1.0/24], ports: [5432], via: drop }
  - { to: [0.0.0.0/0, "::/0"], via: "reject:prohibited" }
`,
  );
});
after(() => rmSync(folder, { recursive: true }));

async function cli(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const code = await dispatch({
    argv,
    environment: {},
    stdout: { terminal: false, write: (text) => void (out += text) },
    stderr: { terminal: false, write: (text) => void (err += text) },
    version: '1',
    loadCommands: async () => {
      const unexpected = (): never => assert.fail('not expected');
      const none = async (): Promise<[]> => [];
      return {
        ...{
          run: unexpected,
          plan: unexpected,
          release: unexpected,
          doctor: none,
          namespace: unexpected,
          keyscan: none,
        },
        ...{ check: none, judge: none, exec: unexpected, attach: unexpected },
        ...{ reattach: none, containers: none },
      };
    },
    loadInjector: async () => assert.fail('not expected'),
    onUncaught: () => {},
    stopOnSignals: () => new AbortController().signal,
  });
  return { code, out, err };
}

test('the rule that decides is named by file and line, with those before it', async () => {
  const { code, out, err } = await cli('explain', '-c', file, '192.0.2.7:80', '--uid', '5');
  assert.deepEqual([code, err], [0, '']);
  assert.equal(
    out.replaceAll(file, 'FILE'),
    `tcp to 192.0.2.7, port 80, by uid 5
is rejected at once (prohibited)
  decided by FILE:8  to 0.0.0.0/0 ::/0, via reject:prohibited
      because: any address
rules before it:
  FILE:5  to 10.20.0.0/16, ports 5432, via main
      no: port 80, address 192.0.2.7
  FILE:6  uid 1000, via direct
      no: uid 5
  FILE:7  to 10.20.1.0/24, ports 5432, via drop
      no: port 80, address 192.0.2.7
`,
  );
});

test('what is not known of a flow is told as such, and what is local does not come to the rules', async () => {
  const { out } = await cli('explain', '-c', file, '10.30.0.1:80');
  assert.match(out, /^unless a rule before it matches, for which more must be known: \S+:6$/m);
  assert.match(out, /^ {6}may be: uid unknown$/m);
  assert.match(out, /^but "local" has 10\.30\.0\.0\/16, which stays direct/m);
  const named = await cli('explain', '-c', file, 'db.test:5432', '--address', '10.20.9.9', '--json');
  const json = JSON.parse(named.out) as Record<string, unknown>;
  assert.deepEqual(json['flow'], { protocol: 'tcp', address: '10.20.9.9', port: 5432, name: 'db.test' });
  assert.deepEqual(json['verdict'], { kind: 'upstream', upstream: 'main' });
});

test('it works without a file, on rules of the command line', async () => {
  const rule = ['--rule', 'to: 192.0.2.0/24, protocol: udp, via: relay'];
  const { code, out } = await cli('explain', '192.0.2.1:123', '--proto', 'udp', ...rule);
  assert.equal(code, 0);
  assert.match(out, /^goes by the relay of the first bastion$/m);
  assert.match(out, /decided by --rule:1 {2}to 192\.0\.2\.0\/24/);
});

test('a ping has no port and nobody who sent it', async () => {
  const { code, out, err } = await cli(
    'explain',
    '-c',
    file,
    '10.20.1.7',
    '--proto',
    'icmp',
    '--uid',
    '1000',
  );
  assert.deepEqual([code, err], [0, '']);
  assert.equal(
    out.replaceAll(file, 'FILE'),
    `ping to 10.20.1.7, by uid 1000
is rejected at once (prohibited)
  decided by FILE:8  to 0.0.0.0/0 ::/0, via reject:prohibited
      because: any address
rules before it:
  FILE:5  to 10.20.0.0/16, ports 5432, via main
      no: a ping has no port
  FILE:6  uid 1000, via direct
      no: nobody knows who pings
  FILE:7  to 10.20.1.0/24, ports 5432, via drop
      no: a ping has no port
`,
  );
  const rule = ['--rule', 'protocol: icmp, names: "*.test", via: main'];
  const named = await cli('explain', 'db.test', '--proto', 'icmp', '--bastion', 'ssh://u@h', ...rule);
  assert.match(named.out, /^ping to db\.test$/m);
  for (const host of ['2001:db8::1', '[2001:db8::1]']) {
    const six = await cli('explain', '-c', file, host, '--proto', 'icmp');
    assert.match(six.out, /^ping to 2001:db8::1$/m, six.err);
  }
  const ported = await cli('explain', '-c', file, 'db.test:443', '--proto', 'icmp');
  assert.equal(ported.code, 64);
  assert.match(ported.err, /a ping has no port/);
});

test('a question that makes no sense is refused, with all that is wrong with it', async () => {
  const { code, err } = await cli(
    'explain',
    'x',
    '--uid',
    '-1',
    '--proto',
    'sctp',
    '--address',
    'y',
    '--gid',
  );
  assert.equal(code, 64);
  for (const place of ['"x"', '--proto', '--address', '--gid'])
    assert.match(err, new RegExp(`error USAGE_INVALID: ${place}:`));
});

test('check tells of a rule that can never match, and which one takes its flows', async () => {
  const { code, out } = await cli('check', '-c', file);
  assert.equal(code, 0);
  assert.match(
    out.replaceAll(file, 'FILE'),
    /^warning FILE:7 rules\[2\]: "to 10\.20\.1\.0\/24, ports 5432, via drop" can never match: all that it asks for goes to FILE:5 /m,
  );
});
