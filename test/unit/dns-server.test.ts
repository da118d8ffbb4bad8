/** Answers, the cache, stale answers, merging and limits of the server; resolvers and the clock are made up. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import type { Answer, DecodedPacket, Packet, RecordType } from 'dns-packet';
import * as fc from 'fast-check';
import {
  DNS_CACHE_MAX,
  DNS_CLIENT_WAITING_MAX,
  DNS_NAMES_GRACE_MS,
  DNS_NAMES_MAX,
  DNS_NAMES_OF_ADDRESS_MAX,
  DNS_STALE_AFTER_MS,
  DNS_STALE_TTL_S,
} from '../../src/core/limits.ts';
import { readAnswer } from '../../src/dns/answer.ts';
import { DnsCache } from '../../src/dns/cache.ts';
import { FakeAddresses } from '../../src/dns/fake.ts';
import { parse } from '../../src/dns/message.ts';
import { NamesMap } from '../../src/dns/names.ts';
import type { Near } from '../../src/dns/near.ts';
import { readQuestion } from '../../src/dns/question.ts';
import type { Done } from '../../src/dns/resolver.ts';
import { DnsServer } from '../../src/dns/server.ts';
import type { FarEnd } from '../../src/dns/server.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const FAKE = { range4: '198.19.0.0/16', range6: 'fd6e:7072:0:1::/112' };
let now = 0;
/** Upstreams that names belong to, where it is not "one". */
const owner = new Map<string, string>();
beforeEach(() => {
  now = 1000;
  owner.clear();
  mock.timers.enable({ apis: ['setTimeout'] });
});
afterEach(() => mock.timers.reset());

interface Question {
  /** The upstream whose far end was asked. */
  readonly upstream?: string;
  readonly wire: Uint8Array;
  readonly done: Done;
}

/** A server whose resolvers are asked into lists. */
function make({ useful = true } = {}): {
  server: DnsServer;
  far: Question[];
  near: Question[];
  names: NamesMap;
} {
  const [far, near]: Question[][] = [[], []];
  const names = new NamesMap(() => now);
  const endOf = (upstream: string): FarEnd => ({
    upstream,
    far: {
      ask: (wire: Uint8Array, _end: number, _fallback: unknown, done: Done) =>
        void far!.push({ upstream, wire, done }),
    } as unknown as FarEnd['far'],
    families: { useful: (_type, _addresses, ready) => ready(useful) },
    failingUntil: -Infinity,
  });
  const ends = new Map(['one', 'two'].map((upstream) => [upstream, endOf(upstream)]));
  const server = new DnsServer({
    places: {
      sideOf: (name) => (name === 'localhost' ? 'self' : name.includes('.') ? 'far' : 'local'),
      nearFor: (resolver) => (resolver === '203.0.113.1' ? [] : ['127.0.0.11']),
      farFor: () => undefined,
    },
    near: {
      ask: (wire: Uint8Array, _end: number, _to: unknown, _ms: number, done: Done) =>
        void near!.push({ wire, done }),
      close() {},
    } as unknown as Near,
    ends: { endOf: (name) => ends.get(owner.get(name) ?? 'one')!, close() {} },
    names,
    fakes: new FakeAddresses({ ...FAKE, file: undefined, log, now: () => now }),
    isFaked: (name) => name.endsWith('.fake.test'),
    log,
    staleMs: 3_600_000,
    now: () => now,
  });
  return { server, far: far!, near: near!, names };
}

interface AskOptions {
  readonly type?: RecordType;
  readonly id?: number;
  readonly client?: string;
  readonly resolver?: string;
  readonly edns?: { size: number; dnssec?: boolean };
  readonly datagram?: boolean;
}

function ask(server: DnsServer, name: string, options: AskOptions = {}): Buffer[] {
  const { type = 'A', id = 1, client = 'c', resolver = '192.0.2.53', edns, datagram = true } = options;
  const packet: Packet = { type: 'query', id, flags: 0x100, questions: [{ type, name }] };
  if (edns !== undefined) {
    const flags = edns.dnssec === true ? 0x8000 : 0;
    packet.additionals = [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: edns.size,
        extendedRcode: 0,
        ednsVersion: 0,
        flags,
        options: [],
      } as never,
    ];
  }
  const answers: Buffer[] = [];
  const answer = (payload: Uint8Array): void => void answers.push(Buffer.from(payload));
  server.accept({ payload: encode(packet), client, resolver, datagram, answer });
  return answers;
}

/** What a resolver says to a query that it was sent. */
function says({ wire }: Question, rcode: number, answers: Answer[], authorities: Answer[] = []): Uint8Array {
  const { questions } = decode(Buffer.from(wire));
  return encode({
    type: 'response',
    id: 0,
    flags: 0x180 | rcode,
    questions: questions!,
    answers,
    authorities,
  });
}

const a = (name: string, ttl: number, data = '192.0.2.99'): Answer => ({ type: 'A', name, ttl, data });
const read = (answers: Buffer[]): DecodedPacket & { rcode?: string } => {
  assert.equal(answers.length, 1);
  return decode(answers[0]!);
};

test('the client gets its id, its spelling of the name, and OPT as it sent one', () => {
  const { server, far } = make();
  const plain = ask(server, 'Name.Test', { id: 7 });
  const edns = ask(server, 'nAME.tEST', { id: 8, edns: { size: 1400 } });
  assert.equal(far.length, 1, 'asked once for both');
  assert.equal(decode(Buffer.from(far[0]!.wire)).questions![0]!.name, 'name.test');
  far[0]!.done(says(far[0]!, 0, [a('name.test', 60)]));
  const [first, second] = [read(plain), read(edns)];
  assert.deepEqual([first.id, second.id], [7, 8]);
  assert.deepEqual([first.questions![0]!.name, second.questions![0]!.name], ['Name.Test', 'nAME.tEST']);
  assert.deepEqual([first.additionals!.length, second.additionals!.map(({ type }) => type)], [0, ['OPT']]);
  assert.ok(first.flag_ra && first.flag_rd && second.flag_ra);
});

test('an answer is kept for as long as it says, its TTL runs down, and DNSSEC has answers of its own', () => {
  const { server, far, names } = make();
  ask(server, 'name.test');
  far[0]!.done(says(far[0]!, 0, [a('name.test', 60)]));
  now += 20_000;
  const kept = read(ask(server, 'NAME.test')).answers![0]!;
  assert.equal((kept as { ttl: number }).ttl, 40);
  assert.equal(far.length, 1);
  ask(server, 'name.test', { edns: { size: 1232, dnssec: true } });
  assert.equal(far.length, 2);
  assert.notEqual(parse(far[1]!.wire)!.opt, undefined);
  now += 41_000;
  ask(server, 'name.test');
  assert.equal(far.length, 3);
  assert.deepEqual(names.namesOf('192.0.2.99'), ['name.test']);
});

test('that there is no such name, or no address, is kept for as long as the SOA says (RFC 2308)', () => {
  const soa: Answer = {
    type: 'SOA',
    name: 'test',
    ttl: 900,
    data: { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 },
  };
  for (const rcode of [0, 3]) {
    const { server, far } = make();
    ask(server, 'no.test');
    far[0]!.done(says(far[0]!, rcode, [], [soa]));
    now += 29_000;
    assert.equal(read(ask(server, 'no.test')).answers!.length, 0);
    assert.equal(far.length, 1);
    now += 2000;
    ask(server, 'no.test');
    assert.equal(far.length, 2);
    ask(server, 'soaless.test');
    far[2]!.done(says(far[2]!, rcode, []));
    ask(server, 'soaless.test');
    assert.equal(far.length, 4, 'without an SOA it is not kept');
  }
});

test('a stale answer is given when no newer one comes in time, and at once while none comes (RFC 8767)', () => {
  const { server, far } = make();
  ask(server, 'name.test');
  far[0]!.done(says(far[0]!, 0, [a('name.test', 1)]));
  now += 5000;
  const waited = ask(server, 'name.test');
  assert.equal(waited.length, 0);
  mock.timers.tick(DNS_STALE_AFTER_MS);
  assert.equal((read(waited).answers![0] as { ttl: number }).ttl, DNS_STALE_TTL_S);
  far[1]!.done(undefined);
  const atOnce = ask(server, 'name.test');
  assert.equal(read(atOnce).answers!.length, 1);
  far[2]!.done(says(far[2]!, 0, [a('name.test', 60, '192.0.2.100')]));
  assert.equal(atOnce.length, 1);
  assert.equal((read(ask(server, 'name.test')).answers![0] as { data: string }).data, '192.0.2.100');
  assert.equal(server.counters.waiting, 0);
});

test('what one far end answered is given for no other, and neither is that it fails', () => {
  const { server, far } = make();
  const given = (): string => (read(ask(server, 'name.test')).answers![0] as { data: string }).data;
  ask(server, 'name.test');
  far[0]!.done(says(far[0]!, 0, [a('name.test', 10, '192.0.2.1')]));
  owner.set('name.test', 'two');
  ask(server, 'name.test');
  far[1]!.done(says(far[1]!, 0, [a('name.test', 60, '192.0.2.2')]));
  assert.deepEqual(
    far.map(({ upstream }) => upstream),
    ['one', 'two'],
  );
  assert.equal(given(), '192.0.2.2');
  owner.clear();
  assert.equal(given(), '192.0.2.1');
  now += 11_000;
  ask(server, 'name.test');
  far[2]!.done(undefined);
  assert.equal(given(), '192.0.2.1', 'stale, at once: "one" fails');
  owner.set('name.test', 'two');
  now += 50_000;
  const waits = ask(server, 'name.test');
  assert.equal(waits.length, 0, '"two" is asked first');
  assert.equal(far.at(-1)!.upstream, 'two');
});

test('the same question for two far ends at the same time is asked of both', () => {
  const { server, far } = make();
  const first = ask(server, 'name.test');
  owner.set('name.test', 'two');
  const second = ask(server, 'name.test');
  far[1]!.done(says(far[1]!, 0, [a('name.test', 60, '192.0.2.2')]));
  assert.deepEqual([first.length, second.length], [0, 1]);
  far[0]!.done(says(far[0]!, 0, [a('name.test', 60, '192.0.2.1')]));
  assert.equal((read(first).answers![0] as { data: string }).data, '192.0.2.1');
});

test('without a stale answer a failure is SERVFAIL', () => {
  const { server, far } = make();
  const asked = ask(server, 'name.test');
  far[0]!.done(undefined);
  assert.equal(asked[0]![3]! & 15, 2);
});

test('local answers are not kept, and go to nobody else', () => {
  const { server, far, near } = make();
  for (const nth of [0, 1]) {
    const asked = ask(server, 'db');
    near[nth]!.done(says(near[nth]!, 0, [a('db', 600)]));
    assert.equal(read(asked).answers!.length, 1);
  }
  const refused = ask(server, 'db', { resolver: '203.0.113.1' });
  assert.equal(refused[0]![3]! & 15, 5);
  const failed = ask(server, 'db');
  near[2]!.done(undefined);
  assert.equal(failed[0]![3]! & 15, 2);
  assert.equal(far.length, 0);
});

test('a family that a local resolver refuses is there with no address, if the name has one of the other', () => {
  const { server, near, far } = make();
  const six = ask(server, 'db', { type: 'AAAA' });
  near[0]!.done(says(near[0]!, 5, []));
  assert.deepEqual(decode(Buffer.from(near[1]!.wire)).questions, [{ type: 'A', class: 'IN', name: 'db' }]);
  near[1]!.done(says(near[1]!, 0, [a('db', 600)]));
  const empty = read(six);
  assert.deepEqual([six[0]![3]! & 15, empty.answers, empty.questions![0]!.type], [0, [], 'AAAA']);

  const four = ask(server, 'db6');
  near[2]!.done(says(near[2]!, 5, []));
  near[3]!.done(says(near[3]!, 0, [{ type: 'AAAA', name: 'db6', ttl: 1, data: '2001:db8::1' }]));
  assert.deepEqual([four[0]![3]! & 15, read(four).answers], [0, []]);

  // A refusal of both, or of what is no address, is passed on as it is.
  const both = ask(server, 'none', { type: 'AAAA' });
  near[4]!.done(says(near[4]!, 5, []));
  near[5]!.done(says(near[5]!, 5, []));
  assert.equal(both[0]![3]! & 15, 5);
  const silent = ask(server, 'none', { type: 'AAAA' });
  near[6]!.done(says(near[6]!, 5, []));
  near[7]!.done(undefined);
  assert.equal(silent[0]![3]! & 15, 5);
  const mail = ask(server, 'db', { type: 'MX' });
  near[8]!.done(says(near[8]!, 5, []));
  assert.equal(mail[0]![3]! & 15, 5);
  assert.deepEqual([near.length, far.length], [9, 0]);
});

test('localhost is answered here', () => {
  const { server } = make();
  assert.deepEqual((read(ask(server, 'localhost')).answers![0] as { data: string }).data, '127.0.0.1');
  const six = read(ask(server, 'localhost', { type: 'AAAA' })).answers![0] as { data: string };
  assert.equal(six.data, '::1');
  assert.deepEqual(read(ask(server, 'localhost', { type: 'MX' })).answers, []);
});

test('a name that only the far end can look up has an address that stands for it, and nothing else', () => {
  const { server, far } = make();
  const four = (read(ask(server, 'A.fake.test')).answers![0] as { data: string }).data;
  const six = (read(ask(server, 'a.fake.test', { type: 'AAAA' })).answers![0] as { data: string }).data;
  assert.match(four, /^198\.19\./);
  assert.match(six, /^fd6e:7072:0:1:/);
  assert.deepEqual(read(ask(server, 'a.fake.test', { type: 'MX' })).answers, []);
  assert.equal(far.length, 0);
});

test('addresses of a family that is of no use are left out, and not kept', () => {
  const { server, far } = make({ useful: false });
  const asked = ask(server, 'name.test', { type: 'AAAA' });
  far[0]!.done(says(far[0]!, 0, [{ type: 'AAAA', name: 'name.test', ttl: 60, data: '2001:db8::9' }]));
  const answer = read(asked);
  assert.deepEqual([answer.answers!.length, asked[0]![3]! & 15], [0, 0]);
  ask(server, 'name.test', { type: 'AAAA' });
  assert.equal(far.length, 2);
});

test('one client may have so many questions under way, and others go on', () => {
  const { server, far } = make();
  for (let i = 0; i < DNS_CLIENT_WAITING_MAX; i++) assert.equal(ask(server, `${i}.test`).length, 0);
  assert.equal(ask(server, 'more.test')[0]![3]! & 15, 2);
  assert.equal(ask(server, 'other.test', { client: 'd' }).length, 0);
  for (const question of far) question.done(undefined);
  const { waiting, waitingBytes, refused } = server.counters;
  assert.deepEqual([waiting, waitingBytes, refused], [0, 0, 1]);
});

test('what is no question of one name of the Internet is turned away in words that fit', () => {
  const { server } = make();
  const answer = (bytes: number[]): number[] => {
    const answers: number[][] = [];
    server.accept({
      ...{ payload: Uint8Array.from(bytes), client: 'c', resolver: undefined, datagram: true },
      answer: (payload) => void answers.push([...payload]),
    });
    return answers[0] ?? [];
  };
  const question = [1, 0x61, 1, 0x62, 0, 0, 1, 0, 1];
  const rcode = (bytes: number[]): number => answer(bytes)[3]! & 15;
  assert.deepEqual(answer([1, 2, 0x81, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...question]), [], 'an answer');
  assert.equal(rcode([1, 2, 0x29, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...question]), 4, 'an update');
  assert.equal(rcode([1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1, 'no question');
  assert.equal(rcode([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9]), 1, 'half a name');
  assert.equal(rcode([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...question.slice(0, -1), 3]), 5, 'CHAOS');
  const version1 = [0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0];
  const bad = answer([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, ...question, ...version1]);
  assert.deepEqual([bad[3]! & 15, bad.at(-6)], [0, 1], 'BADVERS is 16: 1 in OPT and 0 in the header');
});

test('the cache is bounded, the one used longest ago goes first', () => {
  const cache = new DnsCache(() => now, 0);
  const wire = encode({ type: 'response', id: 0, flags: 0, questions: [], answers: [a('x', 60)] });
  for (let i = 0; i <= DNS_CACHE_MAX; i++) {
    cache.set(`${i}`, wire, 60);
    if (i === 10) cache.get('0');
  }
  assert.equal(cache.size, DNS_CACHE_MAX);
  assert.equal(cache.get('1'), undefined);
  assert.notEqual(cache.get('0'), undefined);
});

test('names of addresses are known beyond the TTL, by way of aliases, and no others', () => {
  const { server, far, names } = make();
  ask(server, 'www.test');
  const alias: Answer = { type: 'CNAME', name: 'www.test', ttl: 60, data: 'host.test' };
  const other = a('other.test', 60, '192.0.2.7');
  far[0]!.done(says(far[0]!, 0, [alias, a('host.test', 60, '192.0.2.5'), other]));
  assert.deepEqual(names.namesOf('192.0.2.5'), ['www.test']);
  assert.deepEqual(names.namesOf('192.0.2.7'), []);
  now += 60_000 + DNS_NAMES_GRACE_MS - 1;
  assert.deepEqual(names.namesOf('192.0.2.5'), ['www.test']);
  now += 2;
  assert.deepEqual(names.namesOf('192.0.2.5'), []);
});

test('names that share an address are all known, the latest first, each for its own time', () => {
  const names = new NamesMap(() => now);
  names.learn('a.test', ['192.0.2.5'], 10);
  names.learn('b.test', ['192.0.2.5', '192.0.2.6'], 60);
  assert.deepEqual(names.namesOf('192.0.2.5'), ['b.test', 'a.test']);
  names.learn('a.test', ['192.0.2.5'], 10);
  assert.deepEqual(names.namesOf('192.0.2.5'), ['a.test', 'b.test']);
  assert.deepEqual([names.namesOf('192.0.2.6'), names.size], [['b.test'], 3]);
  now += 10_000 + DNS_NAMES_GRACE_MS;
  assert.deepEqual(names.namesOf('192.0.2.5'), ['b.test']);
});

test('the names of one address are bounded, and those of all', () => {
  const names = new NamesMap(() => now);
  for (let i = 0; i < 3 * DNS_NAMES_OF_ADDRESS_MAX; i++) names.learn(`${i}.test`, ['192.0.2.5'], 60);
  assert.equal(names.size, DNS_NAMES_OF_ADDRESS_MAX);
  assert.equal(names.namesOf('192.0.2.5')[0], `${3 * DNS_NAMES_OF_ADDRESS_MAX - 1}.test`);
  for (let i = 0; i < DNS_NAMES_MAX; i++)
    names.learn('many.test', [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`], 60);
  assert.equal(names.size, DNS_NAMES_MAX);
  assert.deepEqual(names.namesOf('192.0.2.5'), [], 'the address that was told longest ago went first');
});

test('any bytes from a client or a resolver are answered at most once, and throw nothing', () => {
  const header = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => bytes.map((b) => b & 3));
  const bytes = fc
    .tuple(header, fc.uint8Array({ maxLength: 300 }))
    .map(([head, tail]) => Uint8Array.from([...head, ...tail]));
  fc.assert(
    fc.property(bytes, bytes, (fromClient, fromResolver) => {
      const { server, far, near } = make();
      let answered = 0;
      server.accept({
        ...{ payload: fromClient, client: 'c', resolver: undefined, datagram: true },
        answer: (payload) => {
          answered++;
          assert.ok(parse(payload) !== undefined);
        },
      });
      const message = parse(fromClient);
      if (message !== undefined) readQuestion(fromClient, message);
      readAnswer(fromResolver, 'a');
      for (const { done } of [...far, ...near]) done(fromResolver);
      assert.ok(answered <= 1);
      assert.equal(server.counters.waiting, 0);
    }),
    { numRuns: 3000 },
  );
});

test('answers with any records come through as they were', () => {
  const data = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.array(data, { maxLength: 5 }), fc.integer({ min: 0, max: 100_000 }), (texts, ttl) => {
      const { server, far } = make();
      const asked = ask(server, 'name.test', { type: 'TXT', edns: { size: 4096 } });
      const answers = texts.map((each): Answer => ({ type: 'TXT', name: 'name.test', ttl, data: [each] }));
      far[0]!.done(says(far[0]!, 0, answers));
      const got = read(asked).answers!;
      assert.deepEqual(
        got.map((record) => (record as { data: Buffer[] }).data),
        texts.map((each) => [each]),
      );
    }),
  );
});
