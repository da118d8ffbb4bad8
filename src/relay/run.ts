/**
 * One run of the relay's program on a bastion, from the command that starts it to its end: tries one
 * interpreter after the other, and then moves frames.
 */
import type { Channel, ChannelEnd, Commander, CommandOutcome, Dial, DialFailure } from '../core/dialer.ts';
import { RELAY_START_DEADLINE_MS } from '../core/limits.ts';
import type { ByteSink, ByteSource } from '../core/stream.ts';
import { FrameReader } from './frames.ts';
import type { FrameEvents, Hello } from './frames.ts';
import { INTERPRETERS, program } from './program.ts';
import type { Interpreter } from './program.ts';

/**
 * Why a run is over: the way there is gone, or is given up for another; the server cannot run it; or it ran and
 * ended.
 */
export type RunEnd = 'away' | 'retired' | 'unable' | 'ended';

export interface RunEvents extends Omit<FrameEvents, 'hello'> {
  /** It runs: frames may be sent. */
  up(interpreter: Interpreter, hello: Hello): void;
  /** Bytes of frames to send, as `ByteSource.take`; valid until `taken` says so of all. */
  fill(): Uint8Array | undefined;
  ended(end: RunEnd, reason: string): void;
}

const NOTHING = new Uint8Array(0);
/** Characters of the program by which a server that sends our own text back is known. */
const ECHO_CHARACTERS = 40;
/** Characters of what a server printed that the log repeats. */
const TOLD_CHARACTERS = 120;

export class Run implements ByteSource, ByteSink {
  readonly #commander: Commander;
  readonly #events: RunEvents;
  readonly #untried: Interpreter[];
  readonly #reasons: string[] = [];
  #dial: Dial | undefined;
  #channel: Channel | undefined;
  #reader: FrameReader | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #out: Uint8Array = NOTHING;
  #echo = '';
  #up = false;
  #over = false;

  /** `first` is the interpreter that worked last. */
  constructor(commander: Commander, first: Interpreter | undefined, events: RunEvents) {
    this.#commander = commander;
    this.#events = events;
    const others = INTERPRETERS.filter((each) => each !== first);
    this.#untried = first === undefined ? others : [first, ...others];
    this.#tryNext();
  }

  get up(): boolean {
    return this.#up;
  }

  /** The bastion that it runs on, once it does. */
  get bastion(): string | undefined {
    return this.#channel?.bastion;
  }

  /** There is something to send. */
  wake(): void {
    this.#channel?.sourceReady();
  }

  /** Ends it; no event follows. */
  stop(): void {
    this.#over = true;
    this.#up = false;
    clearTimeout(this.#deadline);
    this.#dial?.cancel();
    this.#channel?.abort();
  }

  #tryNext(): void {
    const interpreter = this.#untried.shift();
    if (interpreter === undefined) {
      this.#end('unable', this.#reasons.join('; '));
      return;
    }
    const { command, source } = program(interpreter);
    this.#dial = this.#commander.exec(command, {
      opened: (channel, outcome) => {
        this.#channel = channel;
        this.#out = source;
        const reader = this.#read(interpreter);
        this.#reader = reader;
        this.#echo = source.toString('latin1', 0, ECHO_CHARACTERS);
        this.#deadline = setTimeout(() => channel.abort(), RELAY_START_DEADLINE_MS);
        channel.start(this, this, (end) => this.#closed(interpreter, reader, end, outcome));
      },
      failed: (failure) => this.#failed(failure),
      retired: () => this.#retired(),
    });
  }

  #read(interpreter: Interpreter): FrameReader {
    const { data, error, time } = this.#events;
    return new FrameReader({
      hello: (hello) => {
        clearTimeout(this.#deadline);
        this.#up = true;
        this.#events.up(interpreter, hello);
        this.wake();
      },
      data: data.bind(this.#events),
      error: error.bind(this.#events),
      time: time.bind(this.#events),
    });
  }

  /** What forbids commands says so; anything else is no fault of the server's. */
  #failed({ reason, message }: DialFailure): void {
    this.#end(reason === 'prohibited' ? 'unable' : 'away', message);
  }

  /** The program ends with its channel. */
  #retired(): void {
    if (this.#over) return;
    this.stop();
    this.#events.ended('retired', 'its connection is given up');
  }

  #closed(interpreter: Interpreter, reader: FrameReader, end: ChannelEnd, outcome: CommandOutcome): void {
    clearTimeout(this.#deadline);
    this.#channel = undefined;
    this.#reader = undefined;
    this.#out = NOTHING;
    if (this.#over) return;
    if (end === 'upstream-lost') {
      this.#end('away', 'the connection was lost');
      return;
    }
    const reason = `${interpreter}: ${tell(reader, outcome)}`;
    if (this.#up) {
      this.#end('ended', reason);
      return;
    }
    this.#reasons.push(reason);
    this.#tryNext();
  }

  #end(end: RunEnd, reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#up = false;
    this.#events.ended(end, reason);
  }

  // --- Towards the relay -------------------------------------------------------------------------

  take(max: number): Uint8Array | undefined {
    if (this.#out.length === 0) this.#out = (this.#up ? this.#events.fill() : undefined) ?? NOTHING;
    return this.#out.length === 0 ? undefined : this.#out.subarray(0, max);
  }

  taken(bytes: number): void {
    this.#out = this.#out.subarray(bytes);
  }

  get ended(): boolean {
    return false;
  }

  // --- From the relay ----------------------------------------------------------------------------

  write(chunk: Uint8Array): number {
    // An end within the call closes the channel, and what follows is nobody's.
    const right = this.#reader?.read(chunk);
    const echo = !this.#up && this.#reader?.printed.includes(this.#echo) === true;
    if (right === false || echo) this.#channel?.abort();
    return 0;
  }

  end(): void {}
}

function tell(reader: FrameReader, { errors, status }: CommandOutcome): string {
  const text = printable(errors) || printable(reader.printed);
  const how = status === undefined ? 'ended without a word' : `exit status ${status}`;
  return text === '' ? how : `${how} (${text})`;
}

function printable(text: string): string {
  return text
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, TOLD_CHARACTERS);
}
