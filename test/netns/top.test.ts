/** `netproxy top` on a real terminal: what it shows, its keys, and the terminal afterwards. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { World } from './world.ts';

let world: World;
const main = join(import.meta.dirname, '../../dist/main.js');

before(async () => {
  world = await World.create();
  await world.netproxy().ready();
});
after(() => world?.close());

class Terminal {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  shown = '';

  constructor(rows: number, columns: number, ...command: readonly string[]) {
    const script = join(import.meta.dirname, '../lab/terminal.py');
    const argv = ['python3', script, String(rows), String(columns), ...command];
    this.#child = world.lab.app.spawn(argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#closed = once(this.#child, 'close');
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.shown += text));
  }

  /** `netproxy top` and nothing else. */
  static top(rows: number, columns: number, ...flags: readonly string[]): Terminal {
    return new Terminal(rows, columns, process.execPath, main, 'top', ...flags);
  }

  /** Process number of `netproxy top`, which may be a child of the command's. */
  get pid(): number {
    const stat = (pid: string): string[] => {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
      return text.slice(text.lastIndexOf(')') + 2).split(' ');
    };
    const family = [String(this.#child.pid)];
    for (const pid of family) {
      for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
        // It may have ended meanwhile.
        if (existsSync(`/proc/${name}/stat`) && stat(name)[1] === pid) family.push(name);
      }
    }
    const found = family.find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`${process.execPath}\0${main}\0top`),
    );
    assert.ok(found !== undefined, 'top runs');
    return Number(found);
  }

  order(order: object): void {
    this.#child.stdin!.write(`${JSON.stringify(order)}\n`);
  }

  /** The screen as it was drawn last. */
  get screen(): string {
    return (this.shown.split('\u001b[H').at(-1) ?? '').replaceAll('\r', '');
  }

  async until(what: string, seen: RegExp): Promise<void> {
    await waitFor(`${what}, and not ${this.screen}`, () => seen.test(this.screen), 20_000);
  }

  async left(): Promise<{ code: number; restored: boolean }> {
    await this.#closed;
    // Given back: the cursor, and the other screen.
    assert.ok(this.shown.includes('\u001b[?25h\u001b[?1049l'), this.shown);
    return JSON.parse(this.shown.trimEnd().split('\n').at(-1)!) as { code: number; restored: boolean };
  }
}

test('it shows a connection and its rates, follows the size, ends the connection, and quits', async () => {
  const kept = world.client<{ code: string }>('keep', LAB.target.v4, PORTS.echo, 20);
  const terminal = Terminal.top(24, 120);
  await terminal.until(
    'the connection',
    new RegExp(`main +ready[^]*open +uid 0 +${LAB.target.v4}:${PORTS.echo} .* kB +\\d.* kB`),
  );
  // What is read may be half a screen.
  await waitFor('a whole screen', () => terminal.screen.split('\n').length === 24);
  terminal.order({ size: [10, 60] });
  const widths = (): number[] =>
    // oxlint-disable-next-line no-control-regex -- what is left takes room
    terminal.screen.split('\n').map((line) => line.replaceAll(/\u001b\[[0-9;]*[A-Za-z]/g, '').length);
  await waitFor('the new size', () => widths().length === 10 && Math.max(...widths()) <= 60);
  terminal.order({ size: [24, 120] });
  terminal.order({ send: 's' });
  await terminal.until('another order', /by bytes/);
  terminal.order({ send: 'x' });
  await terminal.until('the question', /end connection \d+\? y\/n/);
  terminal.order({ send: 'y' });
  assert.equal((await kept).code, 'ECONNRESET');
  await terminal.until('none', / 0 connections,/);
  terminal.order({ send: 'q' });
  assert.deepEqual(await terminal.left(), { code: 0, restored: true });
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  test(`the terminal is given back at ${signal}`, async () => {
    const terminal = Terminal.top(24, 80);
    await terminal.until('the screen', /BASTION/);
    const number = constants.signals[signal];
    terminal.order({ signal: number });
    assert.deepEqual(await terminal.left(), { code: signal === 'SIGHUP' ? 128 + number : 0, restored: true });
  });
}

/** A shell with job control, which says how the terminal was given to it, and goes on with a line. */
const SHELL = `set -m
"$@"
echo "stopped with $?: $(stty -a | grep -ow -e '-\\?icanon' -e '-\\?echo' | tr '\\n' ' ')"
read -r line
fg > /dev/null
echo "ended with $?"`;

for (const how of ['Ctrl-Z', 'SIGTSTP'] as const) {
  test(`${how} gives the terminal to the shell, and "fg" draws all again`, async () => {
    const terminal = new Terminal(24, 80, 'bash', '-c', SHELL, 'bash', process.execPath, main, 'top');
    await terminal.until('the screen', /BASTION/);
    if (how === 'Ctrl-Z') terminal.order({ send: '\u001a' });
    else process.kill(terminal.pid, 'SIGTSTP');
    await waitFor('the shell', () => /stopped with 148: icanon echo /.test(terminal.shown), 20_000);
    const left = terminal.shown.lastIndexOf('\u001b[?25h\u001b[?1049l');
    assert.ok(
      left !== -1 && left < terminal.shown.indexOf('stopped with'),
      'the other screen was left first',
    );
    const before_ = terminal.shown.length;
    terminal.order({ send: '\n' });
    await waitFor(
      'the screen again',
      () => /\[\?1049h[^]*BASTION/.test(terminal.shown.slice(before_)),
      20_000,
    );
    terminal.order({ send: 'q' });
    assert.deepEqual(await terminal.left(), { code: 0, restored: true });
    assert.match(terminal.shown, /ended with 0/);
  });
}

test('where no shell would ever continue it, Ctrl-Z stops nothing', async () => {
  const terminal = Terminal.top(24, 80);
  await terminal.until('the screen', /BASTION/);
  const before_ = terminal.shown.length;
  terminal.order({ send: '\u001a' });
  await waitFor(
    'the screen again',
    () => /\[\?1049l[^]*\[\?1049h[^]*BASTION/.test(terminal.shown.slice(before_)),
    20_000,
  );
  terminal.order({ send: 'q' });
  assert.deepEqual(await terminal.left(), { code: 0, restored: true });
});

test('without netproxy, and without a terminal, it says so and leaves nothing behind', async () => {
  const terminal = Terminal.top(24, 80, '--control-socket', '/nowhere/x.sock');
  assert.deepEqual(await terminal.left(), { code: 1, restored: true });
  assert.match(terminal.shown, /NOT_RUNNING/);
  await assert.rejects(world.command('top'), /TERMINAL_MISSING[^]*docker exec -it/);
});
