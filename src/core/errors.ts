/**
 * The one table of everything that can go wrong in a way an operator must act on. A code is stable
 * once released: tests, documentation and alerts match on it, never on the message.
 * `docs/errors.md` lists the same codes; a test keeps the two equal.
 */

/** sysexits.h EX_USAGE: bad flags, environment or configuration; nothing was started or changed. */
export const EXIT_USAGE = 64;
/** The start, or the run, failed for a reason outside the configuration. */
export const EXIT_FAILURE = 1;

interface ErrorRow {
  /** Exit code of the process when this error ends it. */
  readonly exit: typeof EXIT_USAGE | typeof EXIT_FAILURE;
  /** What it means, in one sentence. */
  readonly meaning: string;
  /** What the operator does about it. */
  readonly hint: string;
}

const rows = {
  NATIVE_MISSING: {
    exit: EXIT_FAILURE,
    meaning: 'The native addon was not found or could not be loaded.',
    hint: 'Run "npm run setup" in a checkout; in an image, use the build for this architecture and C library.',
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof rows;

export const ERRORS: Readonly<Record<ErrorCode, ErrorRow>> = rows;

/** An error with a code of the table. `message` says what was found; the table says what to do. */
export class NetproxyError extends Error {
  readonly code: ErrorCode;
  /** Overrides the table's hint when more is known, such as the very line of YAML to add. */
  readonly hint: string;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'NetproxyError';
    this.code = code;
    this.hint = options.hint ?? ERRORS[code].hint;
  }

  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}
