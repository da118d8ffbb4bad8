/** What `netproxy top` shows, as lines, and what its keys do to that. No terminal is needed for either. */
import { cellsOf, COLUMNS } from './connections.ts';
import { ageText, bytesText, plain, tableLines } from './format.ts';
import type { Column } from './format.ts';
import type { Rated } from './rates.ts';
import type { Status } from './status.ts';
import type { Paint } from './style.ts';

/** By what the connections can be sorted, in the order in which `s` goes through them. */
const SORTS: readonly (readonly [name: string, compare: (a: Rated, b: Rated) => number])[] = [
  ['rate', (a, b) => b.outRate + b.inRate - a.outRate - a.inRate],
  ['bytes', (a, b) => b.bytesOut + b.bytesIn - a.bytesOut - a.bytesIn],
  ['age', (a, b) => b.ageSeconds - a.ageSeconds],
  ['target', (a, b) => order(a.name ?? a.to, b.name ?? b.to)],
  ['bastion', (a, b) => order(a.bastion ?? a.verdict, b.bastion ?? b.verdict)],
  ['owner', (a, b) => (a.uid ?? -1) - (b.uid ?? -1)],
];

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const TABLE: readonly Column[] = [
  ...COLUMNS.slice(0, -2),
  ...['OUT/S', 'IN/S', 'OUT', 'IN'].map((title): Column => ({ title, right: true })),
];

const KEYS = 'q quit   s sort   r reverse   up/down select   x end the selected   p pause';

const UP: ReadonlySet<string> = new Set(['k', '\u001b[A', '\u001bOA']);
const DOWN: ReadonlySet<string> = new Set(['j', '\u001b[B', '\u001bOB']);
const PAGE_UP = '\u001b[5~';
const PAGE_DOWN = '\u001b[6~';
const INTERRUPT = '\u0003';

/** Not a matter of colours: it says which one is selected. */
const INVERSE = '\u001b[7m';
const PLAIN = '\u001b[27m';

export interface Seen {
  readonly status: Status;
  readonly total: number;
  readonly connections: readonly Rated[];
}

/** What a key asks for beyond the view. */
export type Wish = { readonly kind: 'quit' } | { readonly kind: 'kill'; readonly id: number } | undefined;

/** What is seen, by which order, and which connection is selected. */
export class TopView {
  readonly #paint: Paint;
  #seen: Seen | undefined;
  #sort = 0;
  #reversed = false;
  /** By its id, so that it stays the same while others come and go. */
  #selected: number | undefined;
  /** First row of the table that is shown. */
  #first = 0;
  #page = 1;
  #asking: number | undefined;
  paused = false;
  /** Stands in the last line until the next key. */
  message = '';

  constructor(paint: Paint) {
    this.#paint = paint;
  }

  see(seen: Seen): void {
    this.#seen = seen;
  }

  key(key: string): Wish {
    this.message = '';
    const asking = this.#asking;
    this.#asking = undefined;
    if (asking !== undefined) {
      if (key === 'y') return { kind: 'kill', id: asking };
      this.message = 'nothing was ended';
    } else if (key === 'q' || key === INTERRUPT) return { kind: 'quit' };
    else if (UP.has(key)) this.#move(-1);
    else if (DOWN.has(key)) this.#move(1);
    else if (key === PAGE_UP) this.#move(-this.#page);
    else if (key === PAGE_DOWN) this.#move(this.#page);
    else if (key === 's') this.#sort = (this.#sort + 1) % SORTS.length;
    else if (key === 'r') this.#reversed = !this.#reversed;
    else if (key === 'p') this.paused = !this.paused;
    else if (key === 'x') this.#ask();
    return undefined;
  }

  /** At most `rows` lines of at most `columns` columns. */
  lines(columns: number, rows: number): string[] {
    if (this.#seen === undefined) return [''];
    const head = this.#head(this.#seen, columns);
    const list = this.#sorted();
    // One line for the titles, and the last for the keys.
    this.#page = Math.max(rows - head.length - 2, 1);
    const at = Math.max(
      list.findIndex(({ id }) => id === this.#selected),
      0,
    );
    this.#first = Math.max(Math.min(this.#first, at, list.length - this.#page), at - this.#page + 1, 0);
    const shown = list.slice(this.#first, this.#first + this.#page);
    const [titles = '', ...table] = tableLines(TABLE, shown.map(cells), columns);
    const body = table.map((line, index) =>
      list.length > 0 && this.#first + index === at ? `${INVERSE}${line.padEnd(columns)}${PLAIN}` : line,
    );
    const empty = Array.from({ length: this.#page - body.length }, () => '');
    const last = this.#last().slice(0, columns);
    return [...head, this.#paint('bold', titles), ...body, ...empty, this.#paint('dim', last)].slice(0, rows);
  }

  #head({ status, total, connections }: Seen, columns: number): string[] {
    const sum = (of: (one: Rated) => number): string =>
      bytesText(connections.reduce((all, one) => all + of(one), 0));
    const first = [
      `netproxy ${status.version}`,
      status.ready ? 'ready' : 'not ready',
      `up ${ageText(status.uptimeSeconds)}`,
      `${total} connections`,
      `out ${sum(({ outRate }) => outRate)}/s`,
      `in ${sum(({ inRate }) => inRate)}/s`,
      `leaked packets ${status.leakedPackets ?? '-'}`,
    ].join(', ');
    const bastions = tableLines(
      [
        { title: 'BASTION', elastic: true },
        { title: 'STATE' },
        { title: 'ROUND TRIP', right: true },
        { title: 'CONNECTIONS', right: true },
        { title: 'CHANNELS', right: true },
        { title: 'WHY', elastic: true },
      ],
      status.bastions.map(({ name, state, roundTripMs, connections: made, channels, reason }) => [
        ...[plain(name), state, roundTripMs === undefined ? '-' : `${roundTripMs.toFixed(1)} ms`],
        ...[String(made), String(channels), plain(reason)],
      ]),
      columns,
    );
    return [this.#paint('bold', first.slice(0, columns)), ...bastions, ''];
  }

  #last(): string {
    if (this.#asking !== undefined) return `end connection ${this.#asking}? y/n`;
    const [name] = SORTS[this.#sort]!;
    const paused = this.paused ? 'paused   ' : '';
    return this.message === ''
      ? `${paused}by ${name}${this.#reversed ? ', reversed' : ''}   ${KEYS}`
      : this.message;
  }

  #sorted(): Rated[] {
    const [, compare] = SORTS[this.#sort]!;
    const list = (this.#seen?.connections ?? []).toSorted((a, b) => compare(a, b) || a.id - b.id);
    return this.#reversed ? list.toReversed() : list;
  }

  #move(by: number): void {
    const list = this.#sorted();
    const at = Math.max(
      list.findIndex(({ id }) => id === this.#selected),
      0,
    );
    this.#selected = list[Math.min(Math.max(at + by, 0), list.length - 1)]?.id;
  }

  #ask(): void {
    const list = this.#sorted();
    this.#asking = (list.find(({ id }) => id === this.#selected) ?? list[0])?.id;
    if (this.#asking === undefined) this.message = 'there is no connection';
  }
}

function cells(one: Rated): string[] {
  const all = cellsOf(one);
  const rate = (bytes: number): string => (bytes < 1 ? '-' : bytesText(bytes));
  return [...all.slice(0, -2), rate(one.outRate), rate(one.inRate), ...all.slice(-2)];
}
