/** Questions that share a channel to a resolver, and their second chances; the dialer and the clock are made up. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import type { Channel, ChannelEnd, DialHandlers, Dialer } from '../../src/core/dialer.ts';
import { DNS_IDLE_MS, DNS_QUERY_DEADLINE_MS } from '../../src/core/limits.ts';
import type { ByteSink, ByteSource } from '../../src/core/stream.ts';
import { makeQuery } from '../../src/dns/question.ts';
import { Resolver } from '../../src/dns/resolver.ts';

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
  dial(_target: unknown, _origin: unknown, handlers: DialHandlers): { cancel(): void } {
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

function make(): { dialer: FakeDialer; resolver: Resolver } {
  const dialer = new FakeDialer();
  return { dialer, resolver: new Resolver({ address: '192.0.2.53', port: 53 }, () => dialer) };
}

/** What each question was answered: text, or undefined when it failed. */
function ask(resolver: Resolver, name = 'a.example'): (string | undefined)[] {
  const answers: (string | undefined)[] = [];
  const wire = makeQuery(name, 1);
  resolver.ask(wire, wire.length, (answer) => {
    answers.push(answer === undefined ? undefined : Buffer.from(answer.subarray(wire.length)).toString());
  });
  return answers;
}

test('answers come in any order, and each goes to its own question', () => {
  const { dialer, resolver } = make();
  const asked = [1, 2, 3].map(() => ask(resolver));
  const far = dialer.open();
  assert.equal(dialer.dials.length, 1, 'one channel for all');
  assert.equal(new Set(far.asked.map((each) => each.readUInt16BE())).size, 3);
  for (const index of [2, 0, 1]) far.answer(index, `answer ${index}`);
  assert.deepEqual(asked, [['answer 0'], ['answer 1'], ['answer 2']]);
  resolver.close();
});

test('an answer to nobody, one to another question, a second one and garbage change nothing', () => {
  const { dialer, resolver } = make();
  const one = ask(resolver);
  const far = dialer.open();
  const stray = Buffer.from(far.asked[0]!);
  stray.writeUInt16BE((stray.readUInt16BE() + 1) & 0xffff);
  const other = Buffer.from(makeQuery('b.example', 1));
  far.asked[0]!.copy(other, 0, 0, 2);
  other[2] = 0x81;
  far.say(stray, other, Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(400, 0xff));
  assert.deepEqual(one, []);
  far.answer(0, 'right');
  far.answer(0, 'again');
  assert.deepEqual(one, ['right']);
  resolver.close();
});

test('a refusal without the question in it is a failure at once', () => {
  const { dialer, resolver } = make();
  const one = ask(resolver);
  const far = dialer.open();
  far.say(Buffer.from([...far.asked[0]!.subarray(0, 2), 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]));
  assert.deepEqual(one, [undefined]);
  resolver.close();
});

test('a channel that the resolver closes is made anew, and what was not answered asked once more', () => {
  const { dialer, resolver } = make();
  const [answered, waiting] = [ask(resolver), ask(resolver)];
  const first = dialer.open();
  first.answer(0, 'done');
  first.close();
  assert.equal(dialer.dials.length, 2);
  const second = dialer.open();
  assert.equal(second.asked.length, 1);
  second.answer(0, 'late');
  assert.deepEqual([answered, waiting], [['done'], ['late']]);
  resolver.close();
});

test('a resolver that closes twice without an answer is given up', () => {
  const { dialer, resolver } = make();
  const one = ask(resolver);
  dialer.open().close();
  dialer.open().close();
  assert.deepEqual(one, [undefined]);
  assert.equal(dialer.dials.length, 2);
});

test('a silent resolver fails the question in time, and the next one takes a new channel', () => {
  const { dialer, resolver } = make();
  const one = ask(resolver);
  const silent = dialer.open();
  mock.timers.tick(DNS_QUERY_DEADLINE_MS - 1);
  assert.deepEqual(one, []);
  mock.timers.tick(1);
  assert.deepEqual(one, [undefined]);
  assert.ok(silent.aborted);
  const two = ask(resolver);
  dialer.open().answer(0, 'here');
  assert.deepEqual(two, ['here']);
  resolver.close();
});

test('a target that cannot be reached fails what waits for it', () => {
  const { dialer, resolver } = make();
  const all = [1, 2, 3].map(() => ask(resolver));
  dialer.dials[0]!.failed({ reason: 'refused', message: '' });
  assert.deepEqual(all, [[undefined], [undefined], [undefined]]);
  assert.ok(resolver.reached);
});

test('a channel without questions is closed after a while, and the next question takes another', () => {
  const { dialer, resolver } = make();
  ask(resolver);
  const far = dialer.open();
  far.answer(0, '');
  mock.timers.tick(DNS_IDLE_MS);
  assert.ok(far.aborted);
  const next = ask(resolver);
  dialer.open().answer(0, 'x');
  assert.deepEqual(next, ['x']);
  resolver.close();
});
