import { NetproxyError, ProblemsError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { ERRORS } from '../core/errors.ts';
import type { Paint } from './style.ts';

/** An error in the form in which it is printed. */
export interface Report {
  readonly text: string;
  readonly exitCode: number;
}

export interface ReportOptions {
  readonly json: boolean;
  /** Adds stacks and causes. */
  readonly debug: boolean;
  readonly paint: Paint;
}

/** How an error is told: `error CODE: message` and the fix, or one JSON object on one line. */
export function report(error: unknown, options: ReportOptions): Report {
  const known = error instanceof NetproxyError ? error : internal(error);
  const exitCode = known.exitCode;
  return { text: options.json ? asJson(known, options) : asText(known, options), exitCode };
}

/** An exception that nobody expected is our defect, and says so. */
function internal(error: unknown): NetproxyError {
  return new NetproxyError('INTERNAL', error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}

function asText(error: NetproxyError, { debug, paint }: ReportOptions): string {
  const head = (code: string, message: string): string => `${paint('red', `error ${code}:`)} ${message}\n`;
  const fix = (hint: string): string => `  ${paint('green', 'fix:')} ${hint.replaceAll('\n', '\n       ')}\n`;
  const trace = debug ? `${stackOf(error)}\n` : '';
  if (error instanceof ProblemsError && error.problems.length > 1) {
    const each = error.problems.map((problem) => head(problem.code, told(problem)) + fix(hintOf(problem)));
    return `${each.join('')}${error.problems.length} errors\n${trace}`;
  }
  return head(error.code, error.message) + fix(error.hint) + trace;
}

function asJson(error: NetproxyError, { debug }: ReportOptions): string {
  const problems = error instanceof ProblemsError ? error.problems : undefined;
  return `${JSON.stringify({
    level: 'error',
    time: new Date().toISOString(),
    code: error.code,
    msg: error.message,
    fix: error.hint,
    ...(problems === undefined
      ? {}
      : { problems: problems.map((each) => ({ ...each, hint: hintOf(each) })) }),
    ...(debug ? { stack: stackOf(error) } : {}),
  })}\n`;
}

function told(problem: Problem): string {
  return `${problem.where}: ${problem.message}`;
}

function hintOf(problem: Problem): string {
  return problem.hint ?? ERRORS[problem.code].hint;
}

/** Longest chain of causes that is told; a chain may be a ring. */
const CAUSES_MAX = 8;

function stackOf(error: Error): string {
  const stacks: string[] = [];
  let cause: unknown = error;
  while (cause instanceof Error && stacks.length < CAUSES_MAX) {
    stacks.push(cause.stack ?? String(cause));
    cause = cause.cause;
  }
  return stacks.join('\ncaused by: ');
}
