/** The relay's questions, their limits and their second chances; the dialer and the clock are made up. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import type { UdpDatagram } from '../../src/core/datagram.ts';
import type { Channel, ChannelEnd, DialHandlers, Dialer } from '../../src/core/dialer.ts';
import {
  DNS_IDLE_MS,
  DNS_QUERIES_MAX,
  DNS_QUERY_DEADLINE_MS,
  DNS_RESOLVERS_MAX,
  DNS_RESOLVER_WAITING_MAX_BYTES,
  DNS_WAITING_MAX_BYTES,
} from '../../src/core/limits.ts';
import type { ByteSink, ByteSource } from '../../src/core/stream.ts';
import { DnsRelay } from '../../src/dns/relay.ts';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => mock.timers.reset());

/** A resolver at the far end of a channel: what it was asked, and what it says. */
class FarEnd implements Channel {
  readonly asked: Buffer[] = [];
  aborted = false;
  #source: ByteSource | undefined;
  #sink: ByteSink | undefined;
  #closed: ((end: ChannelEnd) => void) | undefined;
  #bytes = Buffer.alloc(0);

  start(source: ByteSource, sink: ByteSink, closed: (end: ChannelEnd) => void): void {
    this.#source = source;
    this.#sink = sink;
    this.#closed = closed;
  }
  sourceReady(): void {
    for (let chunk = this.#source!.take(7); chunk !== undefined; chunk = this.#source!.take(7)) {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#source!.taken(chunk.length);
    }
    while (this.#bytes.length >= 2 && this.#bytes.length >= 2 + this.#bytes.readUInt16BE()) {
      const end = 2 + this.#bytes.readUInt16BE();
      this.asked.push(this.#bytes.subarray(2, end));
      this.#bytes = this.#bytes.subarray(end);
    }
  }
  sinkDrained(): void {}
  abort(): void {
    this.aborted = true;
  }
  say(...messages: Uint8Array[]): void {
    for (const message of messages) {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      this.#sink!.write(Buffer.concat([length, message]));
    }
  }
  /** Answers the question at `index` with `text` after it. */
  answer(index: number, text: string): void {
    const answer = Buffer.concat([this.asked[index]!, Buffer.from(text)]);
    answer[2] = 0x81;
    this.say(answer);
  }
  close(): void {
    this.#sink!.end();
    this.#closed!('finished');
  }
}

class FakeDialer implements Dialer {
  readonly dials: DialHandlers[] = [];
  readonly to: string[] = [];
  dial(target: { address: string }, _origin: unknown, handlers: DialHandlers): { cancel(): void } {
    this.to.push(target.address);
    this.dials.push(handlers);
    return { cancel() {} };
  }
  open(index = this.dials.length - 1): FarEnd {
    const end = new FarEnd();
    this.dials[index]!.opened(end);
    end.sourceReady();
    return end;
  }
}

interface Asked {
  readonly answers: Buffer[];
}

/** A question with `id` for `a.`, `bytes` long by padding, which is no record and yet a message. */
function question(id: number, bytes = 19): Buffer {
  const query = Buffer.alloc(Math.max(19, bytes));
  query.set([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0x61, 0, 0, 1, 0, 1]);
  return query;
}

function ask(relay: DnsRelay, id: number, { to = '192.0.2.53', bytes = 19 } = {}): Asked {
  const answers: Buffer[] = [];
  const datagram: UdpDatagram = {
    protocol: 'udp',
    family: 4,
    whole: true,
    tooBig() {},
    payload: question(id, bytes),
    source: { address: '198.18.0.1', port: 4000 },
    destination: { address: to, port: 53 },
    answer: (payload) => void answers.push(Buffer.from(payload)),
    refuse: () => assert.fail('a question is never refused'),
  };
  relay.accept(datagram);
  return { answers };
}

const failed = ({ answers }: Asked): boolean => answers.length === 1 && (answers[0]![3]! & 0x0f) === 2;

test('answers go back in any order, each under its own id', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  const asked = [1, 2, 3].map((id) => ask(relay, id));
  const far = dialer.open();
  assert.equal(dialer.dials.length, 1, 'one channel for all');
  for (const index of [2, 0, 1]) far.answer(index, `answer ${index}`);
  for (const [index, { answers }] of asked.entries()) {
    assert.equal(answers.length, 1);
    assert.equal(answers[0]!.readUInt16BE(), index + 1);
    assert.match(String(answers[0]), new RegExp(`answer ${index}$`));
  }
  relay.close();
});

test('an answer to nobody, a second one and garbage change nothing', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  const one = ask(relay, 7);
  const far = dialer.open();
  const wrong = Buffer.from(far.asked[0]!);
  wrong.writeUInt16BE((wrong.readUInt16BE() + 1) & 0xffff);
  far.say(wrong, Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(400, 0xff));
  assert.equal(one.answers.length, 0);
  far.answer(0, 'right');
  far.answer(0, 'again');
  assert.equal(one.answers.length, 1);
  relay.close();
});

test('a channel that the resolver closes is made anew, and what was not answered asked once more', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  const [answered, waiting] = [ask(relay, 1), ask(relay, 2)];
  const first = dialer.open();
  first.answer(0, 'done');
  first.close();
  assert.equal(dialer.dials.length, 2);
  const second = dialer.open();
  assert.equal(second.asked.length, 1);
  second.answer(0, 'late');
  assert.match(String(waiting.answers[0]), /late$/);
  assert.equal(answered.answers.length, 1);
  relay.close();
});

test('a resolver that closes twice without an answer is given up', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  const one = ask(relay, 1);
  dialer.open().close();
  dialer.open().close();
  assert.ok(failed(one));
  assert.equal(dialer.dials.length, 2);
});

test('a silent resolver fails the question in time, and the next one takes a new channel', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  const one = ask(relay, 1);
  const silent = dialer.open();
  mock.timers.tick(DNS_QUERY_DEADLINE_MS - 1);
  assert.equal(one.answers.length, 0);
  mock.timers.tick(1);
  assert.ok(failed(one));
  assert.ok(silent.aborted);
  const two = ask(relay, 2);
  dialer.open().answer(0, 'here');
  assert.match(String(two.answers[0]), /here$/);
  relay.close();
});

test('a target that cannot be reached fails what waits for it', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  const all = [1, 2, 3].map((id) => ask(relay, id));
  dialer.dials[0]!.failed({ reason: 'refused', message: '' });
  assert.ok(all.every(failed));
  assert.equal(relay.counters.resolvers, 0);
});

test('a channel without questions is closed after a while', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  ask(relay, 1);
  const far = dialer.open();
  far.answer(0, '');
  mock.timers.tick(DNS_IDLE_MS);
  assert.ok(far.aborted);
  assert.equal(relay.counters.resolvers, 0);
});

test('no more questions of a resolver wait than there is room for, by number and by bytes', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  for (let id = 0; id < DNS_QUERIES_MAX; id++) assert.equal(ask(relay, id).answers.length, 0);
  assert.ok(failed(ask(relay, 5000)));
  assert.equal(relay.counters.waiting, DNS_QUERIES_MAX);
  assert.equal(relay.counters.refused, 1);
  const far = dialer.open();
  far.answer(0, '');
  assert.equal(ask(relay, 5001).answers.length, 0, 'an answer makes room');

  const large = 60_000;
  const fitting = Math.floor(DNS_RESOLVER_WAITING_MAX_BYTES / large);
  for (let id = 0; id < fitting; id++) ask(relay, id, { to: '192.0.2.54', bytes: large });
  assert.ok(failed(ask(relay, fitting, { to: '192.0.2.54', bytes: large })));
  relay.close();
  assert.equal(relay.counters.waitingBytes, 0);
});

test('nor questions of all resolvers, nor resolvers', () => {
  const dialer = new FakeDialer();
  const relay = new DnsRelay(dialer);
  let refused = 0;
  for (let i = 0; i < 8; i++) {
    for (let id = 0; id < 16; id++) {
      if (failed(ask(relay, id, { to: `192.0.2.${i}`, bytes: 60_000 }))) refused++;
    }
  }
  assert.ok(refused > 0);
  assert.ok(relay.counters.waitingBytes <= DNS_WAITING_MAX_BYTES);
  relay.close();
  for (let i = 0; i < DNS_RESOLVERS_MAX; i++) ask(relay, 1, { to: `192.0.3.${i}` });
  assert.ok(failed(ask(relay, 1, { to: '192.0.4.1' })));
  relay.close();
});
