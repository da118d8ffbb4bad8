/** Pure parts of `exec` and `record`: the command line, frames to the helper, resolv.conf, what was seen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseArguments } from '../../src/cli/arguments.ts';
import { jobInput, setAside } from '../../src/cli/job.ts';
import type { Problem } from '../../src/core/errors.ts';
import { neighbourOf, resolvConfFor } from '../../src/job/resolv-conf.ts';
import { asNetworkPolicy, asPermitOpen, asRules } from '../../src/job/formats.ts';
import { Seen } from '../../src/job/seen.ts';
import { FrameReader, frameOf, strings } from '../../src/netns/helper-frames.ts';
import type { Frame } from '../../src/netns/helper-frames.ts';
import { SEEN_DESTINATIONS_MAX } from '../../src/core/limits.ts';

test('what stands behind "--" is the command, whatever it looks like', () => {
  const { command, operands, flags, problems } = parseArguments([
    ...['exec', '--log-level', 'debug', '--', 'tool', '--log-level', '-c', '--', 'x'],
  ]);
  assert.deepEqual(problems, []);
  assert.equal(command, 'exec');
  assert.equal(flags.get('log.level')?.[0]?.text, 'debug');
  assert.deepEqual(operands, ['tool', '--log-level', '-c', '--', 'x']);
});

test('a command line without a command, or with one before "--", is refused with the right one', () => {
  const told = (...argv: string[]): string =>
    parseArguments(argv)
      .problems.map(({ where, message, hint }) => `${where}: ${message} ${hint}`)
      .join('\n');
  assert.match(told('exec'), /COMMAND: the command to run is missing/);
  assert.match(told('exec', '--'), /COMMAND: the command to run is missing/);
  assert.match(told('exec', 'npm', '--', 'x'), /"npm": stands before "--"/);
  assert.match(told('record', '--allow', 'x', '--', 'y'), /--allow: not a flag of "record"/);
});

test('published ports are read, and each that is wrong is told', () => {
  const read = (text: string): [unknown, readonly Problem[]] => {
    const problems: Problem[] = [];
    const input = jobInput(parseArguments(['exec', '--publish', text, '--', 'x']), problems);
    return [input.publish, problems];
  };
  assert.deepEqual(read('8080:80,0.0.0.0:1:2,[::1]:3:4'), [
    [
      { outside: { address: '127.0.0.1', port: 8080 }, port: 80 },
      { outside: { address: '0.0.0.0', port: 1 }, port: 2 },
      { outside: { address: '::1', port: 3 }, port: 4 },
    ],
    [],
  ]);
  for (const wrong of ['80', 'x:80', '80:x', 'host:1:2', '0:1', '1:65536', '[::1:1:2', ':::']) {
    const [, problems] = read(wrong);
    assert.equal(problems.length, 1, wrong);
    assert.equal(problems[0]?.where, '--publish');
  }
});

test('each setting that counts for nothing is told with its place, and no other', () => {
  const origins = new Map([
    ['local', 'netproxy.yaml:3:1'],
    ['watch', 'NETPROXY_WATCH'],
    ['strict', 'default'],
    ['rules', 'netproxy.yaml:9:1'],
  ]);
  assert.deepEqual(
    setAside(origins, 'exec').map(({ where, message }) => `${where}: ${message}`),
    [
      'netproxy.yaml:3:1: "local" counts for nothing in "exec": no network is local to a namespace that has nothing but the TUN',
      'NETPROXY_WATCH: "watch" counts for nothing in "exec": the configuration is read once',
    ],
  );
});

test('frames come whole however they are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(5), fc.nat(), fc.uint8Array({ maxLength: 300 })), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (frames, cuts) => {
        const wire = Buffer.concat(frames.map(([kind, id, payload]) => frameOf(kind, id, payload)));
        const found: Frame[] = [];
        const reader = new FrameReader((frame) => found.push(frame));
        for (let at = 0, turn = 0; at < wire.length; turn++) {
          const length = cuts[turn % cuts.length] ?? 1;
          reader.write(wire.subarray(at, at + length));
          at += length;
        }
        assert.deepEqual(
          found.map(({ kind, id, payload }) => [kind, id, [...payload]]),
          frames.map(([kind, id, payload]) => [kind, id, [...payload]]),
        );
      },
    ),
  );
});

test('an argument with a NUL is refused, not cut', () => {
  assert.equal(strings(['a', '']).toString('latin1'), 'a\0\0');
  assert.throws(() => strings(['a\0b']), RangeError);
});

test('resolv.conf keeps what is about names, and has one nameserver', () => {
  const text =
    '# x\nnameserver 127.0.0.53\nsearch corp.test lan\noptions ndots:2 edns0\nnameserver ::1\nlookup file\n';
  assert.equal(
    resolvConfFor(text, '198.18.0.2'),
    'nameserver 198.18.0.2\nsearch corp.test lan\noptions ndots:2 edns0\n',
  );
  assert.equal(neighbourOf('198.18.0.1/30'), '198.18.0.2');
  assert.equal(neighbourOf('198.18.0.2/30'), '198.18.0.1');
  assert.equal(neighbourOf('10.0.0.4/31'), '10.0.0.5');
});

const flow = (address: string, port: number, protocol: 'tcp' | 'udp' | 'icmp' = 'tcp') => ({
  family: address.includes(':') ? (6 as const) : (4 as const),
  protocol,
  source: { address: '198.18.0.1', port: 1 },
  destination: { address, port },
});

test('destinations are counted, those refused once stay so, and their number is bounded', () => {
  const seen = new Seen();
  seen.note(flow('192.0.2.1', 443), 'a.example', true);
  seen.note(flow('192.0.2.1', 443), 'a.example', false);
  seen.note(flow('192.0.2.1', 443), 'a.example', true);
  assert.deepEqual(seen.destinations, [
    { protocol: 'tcp', address: '192.0.2.1', port: 443, name: 'a.example', connections: 3, allowed: false },
  ]);
  for (let port = 0; port < SEEN_DESTINATIONS_MAX; port++)
    seen.note(flow(`2001:db8::${port.toString(16)}`, 1), undefined, true);
  assert.equal(seen.destinations.length, SEEN_DESTINATIONS_MAX);
  assert.equal(seen.beyond, 1);
});

test('pings are recorded for rules, without a port, and for nothing else', () => {
  const seen = new Seen();
  seen.note(flow('192.0.2.1', 0, 'icmp'), undefined, true);
  assert.match(
    asRules(seen, 'main'),
    /^ {2}- \{ to: \["192\.0\.2\.1\/32"\], protocol: icmp, via: "main" \}$/m,
  );
  assert.match(asNetworkPolicy(seen), /egress: \[\]/);
  assert.ok(!asPermitOpen(seen, []).includes('192.0.2.1'));
});

test('names from answers, which are anybody\u2019s bytes, stay within their place in every format', () => {
  const forms = (name: string): string[] => {
    const seen = new Seen();
    seen.note(flow('192.0.2.1', 443), name, true);
    return [asRules(seen, 'main'), asPermitOpen(seen, []), asNetworkPolicy(seen)];
  };
  const plain = forms('a.example').map((text) => text.split('\n').length);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (name) => {
      for (const [at, text] of forms(name).entries()) {
        assert.match(text, /^[\x20-\x7e\n]*$/);
        assert.equal(text.split('\n').length, plain[at]);
      }
    }),
  );
});
