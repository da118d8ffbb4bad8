/**
 * The log of the process: pino on stderr, written at once and by no other thread, so that the last
 * line before an exit is never lost. stdout belongs to the command's own output.
 */
import { MASK } from './secret.ts';
import type { Log } from './log.ts';
import type { RecentLines } from './recent-lines.ts';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** `auto` is `human` on a terminal and `json` elsewhere. */
  readonly format: 'auto' | 'human' | 'json';
  /** Whether the stream is a terminal, and whether colours are wanted on it. */
  readonly terminal: boolean;
  readonly colour: boolean;
  /** File descriptor to write to; stderr when absent. */
  readonly descriptor?: number;
  /** Gets every line too, as JSON. */
  readonly recent?: RecentLines;
}

const STDERR = 2;

/** Last net under `Secret`: fields of these names are masked at the top and one level below. */
const SECRET_FIELDS: readonly string[] = [
  'password',
  'passphrase',
  'privateKey',
  'identity',
  'identityPassphrase',
];

/** The form that `auto` comes to. */
export function resolveFormat(format: LoggerOptions['format'], terminal: boolean): 'human' | 'json' {
  if (format !== 'auto') return format;
  return terminal ? 'human' : 'json';
}

/** A log whose level may change. */
export interface LeveledLog extends Log {
  level: string;
  /** Whether lines of this level are written. */
  isLevelEnabled(level: 'debug' | 'info' | 'warn' | 'error'): boolean;
}

/** Makes the log. Libraries are loaded here since help and completion have no use for them. */
export async function createLogger(options: LoggerOptions): Promise<LeveledLog> {
  const { pino } = await import('pino');
  const destination = options.descriptor ?? STDERR;
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err },
    redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: MASK },
  };
  const { recent } = options;
  const kept = <S extends { write(line: string): unknown }>(stream: S): { write(line: string): void } | S =>
    recent === undefined
      ? stream
      : {
          write: (line) => {
            stream.write(line);
            recent.add(line);
          },
        };
  if (resolveFormat(options.format, options.terminal) === 'json') {
    const log: LeveledLog = pino(settings, kept(pino.destination({ dest: destination, sync: true })));
    return log;
  }
  const { default: pretty } = await import('pino-pretty');
  const stream = pretty({
    destination,
    sync: true,
    colorize: options.colour,
    translateTime: 'SYS:HH:MM:ss.l',
    errorLikeObjectKeys: ['error', 'err'],
  });
  const log: LeveledLog = pino(settings, kept(stream));
  return log;
}
