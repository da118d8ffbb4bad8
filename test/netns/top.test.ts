/** `netproxy top` on a real terminal: what it shows, its keys, and the terminal afterwards. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
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
  shown = '';

  constructor(rows: number, columns: number, ...command: readonly string[]) {
    const script = join(import.meta.dirname, '../lab/terminal.py');
    const argv = ['python3', script, String(rows), String(columns), process.execPath, main, ...command];
    this.#child = world.lab.app.spawn(argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.shown += text));
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
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
    // Given back: the cursor, and the other screen.
    assert.ok(this.shown.includes('\u001b[?25h\u001b[?1049l'), this.shown);
    return JSON.parse(this.shown.trimEnd().split('\n').at(-1)!) as { code: number; restored: boolean };
  }
}

test('it shows a connection and its rates, follows the size, ends the connection, and quits', async () => {
  const kept = world.client<{ code: string }>('keep', LAB.target.v4, PORTS.echo, 20);
  const terminal = new Terminal(24, 120, 'top');
  await terminal.until(
    'the connection',
    new RegExp(`main +ready[^]*open +uid 0 +${LAB.target.v4}:${PORTS.echo} .* kB +\\d.* kB`),
  );
  assert.equal(terminal.screen.split('\n').length, 24);
  terminal.order({ size: [10, 60] });
  await waitFor('the new size', () => terminal.screen.split('\n').length === 10);
  for (const line of terminal.screen.split('\n')) {
    // oxlint-disable-next-line no-control-regex -- what is left takes room
    assert.ok(line.replaceAll(/\u001b\[[0-9;]*[A-Za-z]/g, '').length <= 60, line);
  }
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
    const terminal = new Terminal(24, 80, 'top');
    await terminal.until('the screen', /BASTION/);
    const number = constants.signals[signal];
    terminal.order({ signal: number });
    assert.deepEqual(await terminal.left(), { code: signal === 'SIGHUP' ? 128 + number : 0, restored: true });
  });
}

test('without netproxy, and without a terminal, it says so and leaves nothing behind', async () => {
  const terminal = new Terminal(24, 80, 'top', '--control-socket', '/nowhere/x.sock');
  assert.deepEqual(await terminal.left(), { code: 1, restored: true });
  assert.match(terminal.shown, /NOT_RUNNING/);
  await assert.rejects(world.command('top'), /TERMINAL_MISSING[^]*docker exec -it/);
});
