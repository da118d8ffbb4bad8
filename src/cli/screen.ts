/** The terminal as a screen of its own, which is given back as it was, whatever ends the process. */
import { constants } from 'node:os';
import { NetproxyError } from '../core/errors.ts';
import { SUSPEND_LOOK_MS } from '../core/limits.ts';

/** The other screen of the terminal, without a cursor; and back (xterm's control sequences, 1049 and 25). */
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const ERASE_REST_OF_LINE = '\u001b[K';
const ERASE_BELOW = '\u001b[J';

/** Ctrl-Z, which a terminal in raw mode leaves to us. */
const SUSPEND = '\u001a';

/** A key: one character, or a sequence that begins with ESC (ECMA-48, 5.4). */
// oxlint-disable-next-line no-control-regex -- the control character is what is looked for
const KEY = /\u001b(?:\[[0-9;]*[~A-Za-z]|O[A-Z])?|[^\u001b]/gu;

export interface ScreenEvents {
  key(key: string): void;
  /** The size has changed, or the screen was away. */
  resized(): void;
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  /** Shows lines from the top; more than there are rows are left out. */
  draw(lines: readonly string[]): void;
  close(): void;
}

/** Takes the terminal. Throws TERMINAL_MISSING. */
export function openScreen(events: ScreenEvents): Screen {
  const { stdin, stdout } = process;
  if (!stdin.isTTY || !stdout.isTTY) {
    const which = stdin.isTTY ? 'standard output' : 'standard input';
    throw new NetproxyError('TERMINAL_MISSING', `${which} is not a terminal`);
  }
  let open = true;
  /** The terminal is somebody else's for a while. */
  let away = false;
  const enter = (): void => {
    away = false;
    stdin.setRawMode(true);
    stdin.resume();
    stdout.write(ENTER);
  };
  const leave = (): void => {
    stdout.write(LEAVE);
    stdin.setRawMode(false);
    stdin.pause();
  };
  const resumed = (): void => {
    clearTimeout(look);
    // Whoever had it meanwhile may have put it in any mode.
    enter();
    process.off('SIGTSTP', suspend).on('SIGTSTP', suspend);
    events.resized();
  };
  let look: NodeJS.Timeout | undefined;
  const suspend = (): void => {
    away = true;
    leave();
    // Without a listener it stops us.
    process.off('SIGTSTP', suspend);
    process.kill(process.pid, 'SIGTSTP');
    // The kernel ignores it where there is no shell to continue us, as in "docker exec" (setpgid(2), orphaned).
    look = setTimeout(resumed, SUSPEND_LOOK_MS);
  };
  const read = (text: string): void => {
    for (const [key] of text.matchAll(KEY)) {
      if (!open) return;
      if (key === SUSPEND) suspend();
      else events.key(key);
    }
  };
  const resized = (): void => events.resized();
  const close = (): void => {
    if (!open) return;
    open = false;
    clearTimeout(look);
    if (!away) leave();
    stdin.off('data', read);
    stdout.off('resize', resized);
    process.off('SIGCONT', resumed).off('SIGTSTP', suspend).off('exit', close).off('SIGHUP', hungUp);
  };
  const hungUp = (): void => process.exit(128 + constants.signals.SIGHUP);
  stdin.setEncoding('utf8').on('data', read);
  stdout.on('resize', resized);
  process.on('SIGCONT', resumed).on('SIGTSTP', suspend).on('exit', close).on('SIGHUP', hungUp);
  enter();
  return {
    get columns() {
      return stdout.columns;
    },
    get rows() {
      return stdout.rows;
    },
    draw: (lines) => {
      const shown = lines.slice(0, stdout.rows).map((line) => `${line}${ERASE_REST_OF_LINE}`);
      if (open && !away) stdout.write(`${HOME}${shown.join('\r\n')}${ERASE_BELOW}`);
    },
    close,
  };
}
