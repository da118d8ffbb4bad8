/** Questions to the person at the terminal: on stderr, answered on stdin. */
import { ReadStream, WriteStream } from 'node:tty';

/** Longest text of a server that is shown. */
const SHOWN_MAX = 2000;
const ENTER: ReadonlySet<string> = new Set(['\r', '\n']);
const ERASE: ReadonlySet<string> = new Set(['\u007f', '\b']);
const INTERRUPT = '\u0003';
const END_OF_INPUT = '\u0004';
const ERASE_LINE = '\u0015';

export interface Terminal {
  /** Shows lines. */
  show(lines: readonly string[]): void;
  /** Asks for one line. Questions of several connections are asked one after the other. */
  ask(prompt: string, echo: boolean, signal: AbortSignal): Promise<string>;
}

/** The terminal of the process, when stdin and stderr are one. */
export function processTerminal(): Terminal | undefined {
  const { stdin, stderr } = process;
  if (!(stdin instanceof ReadStream) || !(stderr instanceof WriteStream)) return undefined;
  let last: Promise<unknown> = Promise.resolve();
  const show = (text: string): void => void stderr.write(text);
  return {
    show: (lines) => show(lines.map((line) => `${printable(line)}\n`).join('')),
    ask: (prompt, echo, signal) => {
      const answer = last.then(() => readLine(stdin, show, printable(prompt), echo, signal));
      last = answer.catch(() => {});
      return answer;
    },
  };
}

/** What a server sent, without what would command a terminal or break a line, and not too long. */
export function printable(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
  return plain.length > SHOWN_MAX ? `${plain.slice(0, SHOWN_MAX)}…` : plain;
}

function readLine(
  stdin: ReadStream,
  show: (text: string) => void,
  prompt: string,
  echo: boolean,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Error('the connection ended'));
    let typed: string[] = [];
    const done = (finish: () => void): void => {
      stdin.off('data', read);
      signal.removeEventListener('abort', aborted);
      stdin.setRawMode(false);
      stdin.pause();
      show('\n');
      finish();
    };
    const aborted = (): void => done(() => reject(new Error('the connection ended')));
    const read = (chunk: Buffer): void => {
      for (const character of chunk.toString('utf8')) {
        if (ENTER.has(character)) return done(() => resolve(typed.join('')));
        if (character === INTERRUPT || character === END_OF_INPUT) {
          // Raw mode takes the signal from the terminal: it is sent in its stead.
          if (character === INTERRUPT) process.kill(process.pid, 'SIGINT');
          return done(() => reject(new Error('nobody answered')));
        }
        if (ERASE.has(character)) {
          if (typed.pop() !== undefined && echo) show('\b \b');
        } else if (character === ERASE_LINE) {
          if (echo) show('\b \b'.repeat(typed.length));
          typed = [];
        } else {
          typed.push(character);
          if (echo) show(character);
        }
      }
    };
    signal.addEventListener('abort', aborted, { once: true });
    // Before the question is seen: the terminal would show what is typed at once.
    stdin.setRawMode(true);
    show(prompt);
    stdin.on('data', read);
    stdin.resume();
  });
}
