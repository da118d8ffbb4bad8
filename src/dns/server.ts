/**
 * Answers every DNS question of the namespace, however it came: local names by the resolver that the
 * namespace has, all others by one at the far end. What may go where is decided here and nowhere else.
 */
import type { Log } from '../core/log.ts';
import { DNS_QUERY_DEADLINE_MS, DNS_STALE_AFTER_MS, DNS_STALE_PAUSE_MS } from '../core/limits.ts';
import { Admission } from './admission.ts';
import { readAnswer } from './answer.ts';
import { DnsCache } from './cache.ts';
import type { FakeAddresses } from './fake.ts';
import type { Far } from './far.ts';
import { addressed, answerSize, fit, isQuery, parse, RCODE, rcodeOf, reply } from './message.ts';
import type { Message } from './message.ts';
import type { NamesMap } from './names.ts';
import type { Near } from './near.ts';
import { CLASS_IN, readQuestion, TYPE, withType } from './question.ts';
import type { Question } from './question.ts';
import type { Side } from './split.ts';
import { answerWith, fake, localhost } from './synthesis.ts';

/** A message of the application to a resolver. */
export interface Asked {
  /** The server's to keep. */
  readonly payload: Uint8Array;
  /** The socket that asks. */
  readonly client: string;
  /** The resolver that was addressed; undefined where that is not known. */
  readonly resolver: string | undefined;
  /** By a datagram, of limited size. */
  readonly datagram: boolean;
  /** Called at most once. */
  answer(payload: Uint8Array): void;
}

/** Where names are looked for; given anew when the settings or the network change. */
export interface Places {
  sideOf(name: string): Side;
  /** The local resolvers for a question to this one; none: it may not be asked for local names. */
  nearFor(resolver: string | undefined): readonly string[];
  /** Whether the far end may be asked for the resolver that was addressed, by its address. */
  farFor(resolver: string | undefined): string | undefined;
}

/** What is behind a bastion or group. */
export interface FarEnd {
  /** Its name: what one far end answered holds for no other. */
  readonly upstream: string;
  readonly far: Far;
  readonly families: Families;
  /** Until then nothing newer than what is kept is waited for; by the server's clock. */
  failingUntil: number;
}

/** The far ends, of which each name belongs to one. */
export interface Ends {
  endOf(name: string): FarEnd;
  /** Questions that wait get no answer. */
  close(): void;
}

/** Which families of addresses are of use to the application. */
export interface Families {
  /** Whether an answer with these addresses is to be given; `ready` is called in any turn. */
  useful(type: number, addresses: readonly string[], ready: (useful: boolean) => void): void;
}

export interface DnsServerOptions {
  readonly places: Places;
  readonly near: Near;
  readonly ends: Ends;
  readonly names: NamesMap;
  readonly fakes: FakeAddresses;
  /** Whether a fake address is to stand for a name. */
  readonly isFaked: (name: string) => boolean;
  readonly log: Log;
  /** Milliseconds that an answer may be kept beyond its time. */
  readonly staleMs: number;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

export interface DnsCounters {
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly asked: number;
  /** Questions over a limit, which were answered SERVFAIL at once. */
  readonly refused: number;
  readonly local: number;
  readonly far: number;
  /** Answered from the cache, within its time and beyond. */
  readonly cached: number;
  readonly stale: number;
  /** Asked while the same question was under way. */
  readonly merged: number;
  readonly failed: number;
  readonly cacheEntries: number;
  readonly cacheBytes: number;
  readonly names: number;
}

interface Waiting {
  readonly asked: Asked;
  readonly message: Message;
}

/** A question under way, and everybody who asks it. */
interface UnderWay {
  readonly question: Question;
  readonly waiting: Waiting[];
  timer: NodeJS.Timeout | undefined;
}

/** Of the two types that addresses have, the other one. */
const OTHER_FAMILY: ReadonlyMap<number, number> = new Map([
  [TYPE.a, TYPE.aaaa],
  [TYPE.aaaa, TYPE.a],
]);

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #admission = new Admission();
  readonly #cache: DnsCache;
  readonly #underWay = new Map<string, UnderWay>();
  readonly #counts = { asked: 0, local: 0, far: 0, cached: 0, stale: 0, merged: 0, failed: 0 };

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#cache = new DnsCache(() => options.now(), options.staleMs);
  }

  get counters(): DnsCounters {
    return {
      ...this.#admission.counters,
      ...this.#counts,
      cacheEntries: this.#cache.size,
      cacheBytes: this.#cache.bytes,
      names: this.#options.names.size,
    };
  }

  keepStale(ms: number): void {
    this.#cache.keepStale(ms);
  }

  /** Another resolver answers from now on. */
  forget(): void {
    this.#cache.clear();
  }

  /** Takes a message. What is no question at all is dropped. */
  accept(asked: Asked): void {
    const { payload } = asked;
    if (!isQuery(payload)) return;
    const message = parse(payload);
    if (message === undefined) {
      const nothing: Message = { questionsEnd: 12, opt: undefined, optAt: 0, records: [] };
      const header = Uint8Array.from(payload.subarray(0, 12)).fill(0, 4);
      asked.answer(reply(header, nothing, RCODE.formatError));
      return;
    }
    const refusal = refusalOf(payload, message);
    const question = refusal === undefined ? readQuestion(payload, message) : undefined;
    if (question === undefined) {
      asked.answer(reply(payload, message, refusal ?? RCODE.formatError));
    } else if (
      question.class !== CLASS_IN ||
      question.type === TYPE.axfr ||
      question.type === TYPE.ixfr ||
      question.type === 0
    ) {
      asked.answer(reply(payload, message, RCODE.refused));
    } else {
      this.#counts.asked++;
      this.#answer({ asked, message }, question);
    }
  }

  close(): void {
    for (const { timer } of this.#underWay.values()) clearTimeout(timer);
    this.#underWay.clear();
    this.#options.near.close();
    this.#options.ends.close();
  }

  #answer(waiting: Waiting, question: Question): void {
    const side = this.#options.places.sideOf(question.name);
    if (side === 'self') {
      this.#give(waiting, localhost(question, waiting.message.questionsEnd));
    } else if (this.#options.isFaked(question.name)) {
      this.#give(waiting, fake(question, waiting.message.questionsEnd, this.#options.fakes));
    } else if (side === 'local') {
      this.#counts.local++;
      this.#askNear(waiting, question);
    } else {
      this.#counts.far++;
      this.#askFar(waiting, question);
    }
  }

  #askNear(waiting: Waiting, question: Question): void {
    const addresses = this.#options.places.nearFor(waiting.asked.resolver);
    if (addresses.length === 0) {
      this.#give(waiting, undefined, RCODE.refused);
      return;
    }
    const key = `${addresses.join(' ')} ${question.key}`;
    const started = this.#join(key, waiting, question);
    if (started === undefined) return;
    const { questionsEnd } = waiting.message;
    const deadline = this.#options.now() + DNS_QUERY_DEADLINE_MS;
    this.#options.near.ask(question.wire, questionsEnd, addresses, DNS_QUERY_DEADLINE_MS, (answer) => {
      if (answer !== undefined) this.#learn(question, answer);
      const other = OTHER_FAMILY.get(question.type);
      if (answer === undefined || other === undefined || rcodeOf(answer) !== RCODE.refused) {
        this.#settle(key, started, answer);
        return;
      }
      // An engine's resolver refuses the family that a container has no address of, and musl waits for another
      // answer until its time is over.
      const sibling = withType(question, questionsEnd, other);
      const left = Math.max(deadline - this.#options.now(), 0);
      this.#options.near.ask(sibling.wire, questionsEnd, addresses, left, (found) => {
        const there = found !== undefined && (readAnswer(found, question.name)?.addresses ?? []).length > 0;
        const none = answerWith(question, questionsEnd, question.type, 0, []);
        this.#settle(key, started, there ? none : answer);
      });
    });
  }

  #askFar(waiting: Waiting, question: Question): void {
    const end = this.#options.ends.endOf(question.name);
    const key = `${end.upstream}\0${question.key}`;
    const kept = this.#cache.get(key);
    if (kept?.fresh === true) {
      this.#counts.cached++;
      this.#learn(question, kept.wire);
      this.#give(waiting, kept.wire);
      return;
    }
    const started = this.#join(key, waiting, question);
    const stale = (): void => {
      const entry = this.#underWay.get(key);
      if (entry !== undefined && kept !== undefined) this.#giveAll(entry, kept.wire);
    };
    if (kept !== undefined && this.#options.now() < end.failingUntil) {
      this.#counts.stale++;
      stale();
    }
    if (started === undefined) return;
    if (kept !== undefined) started.timer = setTimeout(stale, DNS_STALE_AFTER_MS);
    const { questionsEnd } = waiting.message;
    const fallback = this.#options.places.farFor(waiting.asked.resolver);
    end.far.ask(question.wire, questionsEnd, fallback, (answer) => {
      const failed = answer === undefined || rcodeOf(answer) === RCODE.serverFailure;
      if (failed) {
        end.failingUntil = this.#options.now() + DNS_STALE_PAUSE_MS;
        if (kept !== undefined) this.#counts.stale += started.waiting.length;
        this.#settle(key, started, kept?.wire ?? answer);
        return;
      }
      end.failingUntil = -Infinity;
      this.#keep(key, end.families, question, answer, (wire) => this.#settle(key, started, wire));
    });
  }

  /** Takes an answer of the far end in, and passes on what the application is given of it. */
  #keep(
    key: string,
    families: Families,
    question: Question,
    answer: Uint8Array,
    ready: (wire: Uint8Array) => void,
  ): void {
    const read = readAnswer(answer, question.name);
    families.useful(question.type, read?.addresses ?? [], (useful) => {
      if (!useful) {
        // Not kept: the far end may have the family at any time.
        ready(answerWith(question, questionEnd(answer), question.type, 0, []));
        return;
      }
      if (read?.ttl !== undefined) this.#cache.set(key, answer, read.ttl);
      if (read !== undefined) this.#options.names.learn(question.name, read.addresses, read.ttl ?? 0);
      ready(answer);
    });
  }

  #learn(question: Question, answer: Uint8Array): void {
    const read = readAnswer(answer, question.name);
    if (read !== undefined) this.#options.names.learn(question.name, read.addresses, read.ttl ?? 0);
  }

  /** Adds to a question under way, or begins it; undefined when there is nothing more to do. */
  #join(key: string, waiting: Waiting, question: Question): UnderWay | undefined {
    const { client, payload } = waiting.asked;
    if (!this.#admission.enter(client, payload.length)) {
      waiting.asked.answer(reply(payload, waiting.message, RCODE.serverFailure));
      return undefined;
    }
    const known = this.#underWay.get(key);
    if (known !== undefined) {
      this.#counts.merged++;
      known.waiting.push(waiting);
      return undefined;
    }
    const started: UnderWay = { question, waiting: [waiting], timer: undefined };
    this.#underWay.set(key, started);
    return started;
  }

  #settle(key: string, entry: UnderWay, answer: Uint8Array | undefined): void {
    clearTimeout(entry.timer);
    if (this.#underWay.get(key) === entry) this.#underWay.delete(key);
    if (answer === undefined && entry.waiting.length > 0) {
      this.#counts.failed++;
      this.#options.log.debug({ name: entry.question.name }, 'no resolver answered in time');
    }
    this.#giveAll(entry, answer);
  }

  #giveAll(entry: UnderWay, answer: Uint8Array | undefined): void {
    for (const waiting of entry.waiting.splice(0)) {
      this.#admission.leave(waiting.asked.client, waiting.asked.payload.length);
      this.#give(waiting, answer);
    }
  }

  #give(
    { asked, message }: Waiting,
    answer: Uint8Array | undefined,
    rcode: number = RCODE.serverFailure,
  ): void {
    const { payload } = asked;
    const whole = answer === undefined ? undefined : addressed(answer, payload, message);
    const fitting = whole !== undefined && asked.datagram ? fit(whole, answerSize(message)) : whole;
    asked.answer(fitting ?? reply(payload, message, rcode));
  }
}

function questionEnd(answer: Uint8Array): number {
  return parse(answer)?.questionsEnd ?? 12;
}

/** Why a message is turned away before it is looked at; undefined: it is not. */
function refusalOf(payload: Uint8Array, { opt }: Message): number | undefined {
  const opcode = ((payload[2] ?? 0) >> 3) & 0x0f;
  if (opcode !== 0) return RCODE.notImplemented;
  return opt !== undefined && opt[6] !== 0 ? RCODE.badVersion : undefined;
}
