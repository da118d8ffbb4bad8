/** How names of netproxy's own are looked up: files, answers, and what bytes from outside may do. */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import type { Answer, Packet } from 'dns-packet';
import * as fc from 'fast-check';
import { loadNative } from '../../src/core/native.ts';
import { OwnSockets } from '../../src/core/own-sockets.ts';
import { readAnswer } from '../../src/dns/own/answer.ts';
import { candidates, findInHosts, parseResolvConf } from '../../src/dns/own/files.ts';
import { lookup } from '../../src/dns/own/lookup.ts';

describe('resolv.conf', () => {
  test('is read as glibc reads it', () => {
    const text = [
      '# comment',
      'nameserver 10.0.0.1',
      'nameserver nonsense',
      'nameserver 2001:db8::53',
      'nameserver fe80::1%eth0',
      'nameserver 10.0.0.4',
      'domain ignored.test',
      'search a.test b.test.',
      'options timeout:1 ndots:5',
    ].join('\n');
    assert.deepEqual(parseResolvConf(text), {
      nameservers: ['10.0.0.1', '2001:db8::53', 'fe80::1%eth0'],
      behind: [],
      search: ['a.test', 'b.test'],
      ndots: 5,
    });
    assert.deepEqual(parseResolvConf('').nameservers, ['127.0.0.1']);
  });

  test("of Docker tells the resolvers behind its own, but for those that it asks from the host's namespace", () => {
    const text = 'nameserver 127.0.0.11\noptions ndots:0\n\n# ExtServers: [host(10.1.1.1) 10.251.0.1]\n';
    const { nameservers, behind } = parseResolvConf(text);
    assert.deepEqual([nameservers, behind], [['127.0.0.11'], ['10.251.0.1']]);
  });

  test('never fails', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, name) => {
        const { nameservers } = parseResolvConf(text);
        assert.ok(nameservers.length >= 1 && nameservers.length <= 3);
        findInHosts(text, name);
      }),
    );
  });
});

test('hosts: every address of the name, by any of its names, in order', () => {
  const text =
    '127.0.0.1 localhost\n10.0.0.7 a.test A.alias # not b.test\nx b.test\n2001:db8::7\ta.test\n10.0.0.7 a.test';
  assert.deepEqual(findInHosts(text, 'A.Test.'), ['10.0.0.7', '2001:db8::7']);
  assert.deepEqual(findInHosts(text, 'a.alias'), ['10.0.0.7']);
  assert.deepEqual(findInHosts(text, 'b.test'), []);
});

test('the search list, by dots', () => {
  const settings = { search: ['x.test'], ndots: 2 };
  assert.deepEqual(candidates('a', settings), ['a.x.test', 'a']);
  assert.deepEqual(candidates('a.b', settings), ['a.b.x.test', 'a.b']);
  assert.deepEqual(candidates('a.b.c', settings), ['a.b.c', 'a.b.c.x.test']);
  assert.deepEqual(candidates('a.', settings), ['a']);
});

describe('an answer', () => {
  const wanted = { id: 7, name: 'a.test', type: 'A' } as const;
  const good: Packet = {
    type: 'response',
    id: 7,
    questions: [{ type: 'A', name: 'A.test' }],
    answers: [
      { type: 'CNAME', name: 'a.test', ttl: 30, data: 'b.test' },
      { type: 'A', name: 'b.test', ttl: 300, data: '192.0.2.5' },
    ],
  };

  test('is read, with the shortest life', async () => {
    const answer = await readAnswer(encode(good), wanted);
    assert.deepEqual(answer, { rcode: 'NOERROR', truncated: false, addresses: ['192.0.2.5'], ttl: 30 });
  });

  test('to something else is none', async () => {
    const others: Packet[] = [
      { ...good, id: 8 },
      { ...good, type: 'query' },
      { ...good, questions: [{ type: 'A', name: 'c.test' }] },
      { ...good, questions: [{ type: 'AAAA', name: 'a.test' }] },
      { ...good, questions: [] },
    ];
    for (const other of others) assert.equal(await readAnswer(encode(other), wanted), undefined);
  });

  test('of any bytes is read or is none, in bounded time', async () => {
    const bytes = encode(good);
    const changed = fc
      .array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 8 })
      .map((changes) => {
        const copy = Uint8Array.from(bytes);
        for (const [at, value] of changes) copy[at] = value;
        return copy;
      });
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 600 }), changed), async (input) => {
        const answer = await readAnswer(input, wanted);
        for (const address of answer?.addresses ?? []) assert.notEqual(net.isIP(address), 0);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a lookup', () => {
  const means = { native: loadNative(), own: new OwnSockets(), mark: 0 };
  const records = new Map<string, Answer[]>();
  /** Nameservers by address, each with how it answers. */
  const servers: { close(): unknown }[] = [];
  let port = 0;
  let asked = 0;

  /** Answers by UDP; `whole` false: only with TC set, and the rest by TCP. */
  async function serve(address: string, how: 'whole' | 'short' | 'servfail' | 'silent'): Promise<void> {
    const answer = (bytes: Buffer, short: boolean): Uint8Array => {
      asked++;
      const { id = 0, questions = [] } = decode(bytes);
      const [{ name, type } = { name: '', type: 'A' }] = questions;
      const known = records.get(name);
      const answers = (known ?? []).filter((record) => record.type === type);
      // TC; SERVFAIL and NXDOMAIN of RFC 1035, 4.1.1.
      const flags = short ? 1 << 9 : how === 'servfail' ? 2 : known === undefined ? 3 : 0;
      return encode({ type: 'response', id, flags, questions, answers: short ? [] : answers });
    };
    const udp = dgram.createSocket('udp4');
    udp.on('message', (bytes, from) => {
      if (how === 'silent') asked++;
      else udp.send(answer(bytes, how === 'short'), from.port, from.address);
    });
    udp.bind(port, address);
    await once(udp, 'listening');
    port = udp.address().port;
    servers.push(udp);
    const tcp = net.createServer((socket) => {
      socket.once('data', (bytes: Buffer) => {
        const whole = answer(bytes.subarray(2), false);
        const frame = Buffer.concat([Buffer.alloc(2), whole]);
        frame.writeUInt16BE(whole.length);
        // In two parts, as a network may have it.
        socket.write(frame.subarray(0, 1), () => socket.end(frame.subarray(1)));
      });
    });
    tcp.listen(port, address);
    await once(tcp, 'listening');
    servers.push(tcp);
  }

  const find = (name: string, resolvConf: string, hosts = ''): Promise<{ addresses: readonly string[] }> =>
    lookup(name, {
      ...{ ...means, port },
      read: async (path) => (path === '/etc/hosts' ? hosts : resolvConf),
    });

  before(async () => {
    records.set('both.test', [
      { type: 'A', name: 'both.test', ttl: 60, data: '127.9.9.9' },
      // No route: nobody has this (RFC 3849), and loopback alone is sure to be there.
      { type: 'AAAA', name: 'both.test', ttl: 60, data: '::1' },
    ]);
    await serve('127.77.0.1', 'whole');
    await serve('127.77.0.2', 'servfail');
    await serve('127.77.0.3', 'silent');
    await serve('127.77.0.4', 'short');
  });
  after(() => servers.forEach((server) => server.close()));

  test('asks no one for an address, for what /etc/hosts has, and for localhost', async () => {
    asked = 0;
    assert.deepEqual((await find('192.0.2.1', '')).addresses, ['192.0.2.1']);
    assert.deepEqual((await find('both.test', 'nameserver 127.77.0.1', '10.0.0.9 both.test')).addresses, [
      '10.0.0.9',
    ]);
    assert.deepEqual((await find('localhost', '')).addresses, ['127.0.0.1', '::1']);
    assert.equal(asked, 0);
  });

  test('finds both families', async () => {
    const { addresses } = await find('both.test', 'nameserver 127.77.0.1');
    assert.deepEqual(addresses.toSorted(), ['127.9.9.9', '::1']);
  });

  test('goes on from a server that fails, and from one that is silent', async () => {
    for (const first of ['127.77.0.2', '127.77.0.3', '127.77.0.9']) {
      const { addresses } = await find('both.test', `nameserver ${first}\nnameserver 127.77.0.1`);
      assert.ok(addresses.includes('127.9.9.9'), first);
    }
  });

  test('asks by TCP what is cut short', async () => {
    assert.ok((await find('both.test', 'nameserver 127.77.0.4')).addresses.includes('127.9.9.9'));
  });

  test('asks the resolvers behind that of Docker when that one is silent', async () => {
    const text = 'nameserver 127.77.0.3\n# ExtServers: [127.77.0.1]';
    assert.ok((await find('both.test', text)).addresses.includes('127.9.9.9'));
  });

  test('says who said what when there is none, and leaves no socket noted', async () => {
    await assert.rejects(
      find('nosuch.test', 'nameserver 127.77.0.1\nsearch x.test'),
      /^Error: nosuch.test: NXDOMAIN; nosuch.test.x.test: NXDOMAIN$/,
    );
    await assert.rejects(find('both.test', 'nameserver 127.77.0.2'), /127\.77\.0\.2: SERVFAIL/);
  });
});
