/**
 * The relay's program, in two languages that servers have. It is streamed into the interpreter's stdin, so
 * that nothing is written on the server.
 */
import { readFileSync } from 'node:fs';
import {
  RELAY_AGE_MS,
  RELAY_FLOWS_MAX,
  RELAY_QUEUE_BYTES,
  RELAY_SILENCE_MS,
  UDP_RECEIVE_BUFFER_BYTES,
} from '../core/limits.ts';

export type Interpreter = 'python3' | 'perl';

/** In the order in which they are tried: python3 is the faster relay, Debian's every installation has perl. */
export const INTERPRETERS: readonly Interpreter[] = ['python3', 'perl'];

export interface Program {
  /** For the user's shell on the server; only words and single quotes, which every shell reads alike. */
  readonly command: string;
  /** What is sent first. */
  readonly source: Buffer;
}

const VALUES = [
  RELAY_AGE_MS,
  RELAY_QUEUE_BYTES,
  RELAY_SILENCE_MS / 1000,
  RELAY_FLOWS_MAX,
  UDP_RECEIVE_BUFFER_BYTES,
].join(', ');

const programs = new Map<Interpreter, Program>();

/** Reads the program when it is first wanted. */
export function program(interpreter: Interpreter): Program {
  const known = programs.get(interpreter);
  if (known !== undefined) return known;
  const made = interpreter === 'python3' ? python() : perl();
  programs.set(interpreter, made);
  return made;
}

function read(file: string): string {
  return readFileSync(new URL(file, import.meta.url), 'utf8');
}

/** Isolated and without site packages: neither the server's environment nor its user changes what is run. */
function python(): Program {
  const source = Buffer.from(`AGE, QUEUE, SILENCE, FLOWS, BUFFER = ${VALUES}\n${read('relay.py')}`);
  const command = `python3 -I -S -c 'import sys; exec(sys.stdin.buffer.read(${source.length}))'`;
  return { command, source };
}

function perl(): Program {
  const source = Buffer.from(
    `our ($AGE, $QUEUE, $SILENCE, $FLOWS, $BUFFER) = (${VALUES});\n${read('relay.pl')}`,
  );
  const all = source.length;
  const command = `perl -e '$_ = ""; while (length($_) < ${all}) { sysread(STDIN, $_, ${all} - length($_), length($_)) || exit 74 } eval $_; print STDERR $@; exit 70'`;
  return { command, source };
}
