/**
 * Runs each fault under each choice of layers, and counts what leaked. `node test/netns/leak-matrix.ts` writes
 * the table of docs/security.md; leaks.test.ts holds it against what it runs itself.
 */
import { readFileSync, writeFileSync } from 'node:fs';

import type { Layer } from '../../src/netns/desired.ts';
import { waitFor } from '../lab/namespaces.ts';
import type { Look } from '../lab/oracle.ts';
import { FAULTS } from './leak-faults.ts';
import { KINDS, LeakLab } from './leak-lab.ts';

/** The columns of the table. */
export const COLUMNS: Readonly<Record<string, readonly Layer[]>> = {
  both: ['routes', 'nftables'],
  'routes alone': ['routes'],
  'nftables alone': ['nftables'],
};

export const START = 'the start, beside an application that is older';

/** Why a cell has no number. */
export const NO_LAYER = 'no layer is left';

/** Marks a cell in which bound sockets asked the link for far addresses. */
export const ASKED = '0, see ARP';

export interface Cell extends Look {
  readonly fault: string;
  readonly text: string;
  /** What the filter's own counter says of the same time; undefined without a filter. */
  readonly counted: number | undefined;
  readonly ms: number;
}

/** Runs a column; `each` is told of every cell at once. */
export async function runColumn(layers: readonly Layer[], each: (cell: Cell) => void): Promise<void> {
  const lab = await LeakLab.create(layers);
  try {
    const early = await lab.app(...KINDS, 'old', 'serve');
    await openWithoutNetproxy(lab);
    // From the first step of the takeover on nothing may leave; its own last packets are on their way before.
    const since = performance.now();
    lab.start();
    await waitFor('the takeover', () => lab.netproxy?.stderr.includes('the namespace is taken over'), 30_000);
    await lab.oracle.look();
    await lab.running();
    await lab.app(...KINDS, 'old');
    await lab.attempts(2);
    each(await look(lab, START, since));
    for (const [name, fault] of Object.entries(FAULTS)) {
      if (layers.every((layer) => layer === fault.removes)) {
        const nothing = { leaks: [], asks: [], seen: 0, replies: 0, toBastion: 0 };
        each({ fault: name, text: NO_LAYER, ...nothing, counted: undefined, ms: 0 });
        continue;
      }
      await lab.running();
      const before = await lab.leaked();
      const since = performance.now();
      await fault.run(lab);
      const cell = await look(lab, name, since, before);
      const mayAsk = fault.asks === true && !layers.includes('nftables');
      each(mayAsk && cell.text === '0' ? { ...cell, text: ASKED, asks: [] } : cell);
      if (mayAsk) await lab.asked();
    }
    await lab.endApp(early);
  } finally {
    await lab.close();
  }
}

/** Every way out is open before, so a count of 0 can be believed. */
async function openWithoutNetproxy(lab: LeakLab): Promise<void> {
  await lab.attempts(3);
  const { leaks } = await lab.oracle.look();
  const ways = [
    /^tcp .*203\.0\.113\.7:80$/,
    /^tcp .*2001:db8:99::7:443$/,
    /^udp .*203\.0\.113\.7:53$/,
    /^udp .*2001:db8:99::7:53$/,
    /^udp .*203\.0\.113\.7:7777$/,
    /^icmp /,
    /^icmp6 /,
    /^udp .*:5 > 203\.0\.113\.7:5$/,
    /^udp .*203\.0\.113\.7:9997$/,
    /^tcp .*:7000$/,
  ];
  const missing = ways.filter((way) => !leaks.some((leak) => way.test(leak)));
  if (missing.length > 0) throw new Error(`the oracle misses ${missing.join(' ')}:\n${leaks.join('\n')}`);
}

async function look(lab: LeakLab, fault: string, since: number, before = 0): Promise<Cell> {
  const found = await lab.oracle.look();
  const after = await lab.leaked();
  // A table that was made anew begins at nothing.
  const counted = after === undefined ? undefined : after >= before ? after - before : after;
  const ms = Math.round(performance.now() - since);
  return { fault, text: String(found.leaks.length), ...found, counted, ms };
}

const BEGIN = '<!-- leaks: begin; written by npm run leaks -->';
const END = '<!-- leaks: end -->';
const document = new URL('../../docs/security.md', import.meta.url);

/** Rows of the table in the document: the fault, and a text for each column. */
export function documented(): Map<string, readonly string[]> {
  const text = readFileSync(document, 'utf8');
  const table = text.slice(text.indexOf(BEGIN), text.indexOf(END));
  const rows = [...table.matchAll(/^\| (.+) \|$/gm)].slice(1).map(([, cells = '']) => cells.split(' | '));
  return new Map(rows.map(([fault = '', ...cells]) => [fault, cells]));
}

function write(columns: ReadonlyMap<string, readonly Cell[]>): void {
  const names = [...columns.keys()];
  const faults = columns.get(names[0] ?? '')?.map(({ fault }) => fault) ?? [];
  const lines = [
    `| meanwhile | ${names.join(' | ')} |`,
    `|---|${names.map(() => '---|').join('')}`,
    ...faults.map((fault, row) => {
      const cells = names.map((name) => {
        const cell = columns.get(name)?.[row];
        return cell?.text ?? '';
      });
      return `| ${fault} | ${cells.join(' | ')} |`;
    }),
  ];
  const text = readFileSync(document, 'utf8');
  const begin = text.indexOf(BEGIN) + BEGIN.length;
  writeFileSync(
    document,
    `${text.slice(0, begin)}\n\n${lines.join('\n')}\n\n${text.slice(text.indexOf(END))}`,
  );
}

if (import.meta.main) {
  const columns = new Map<string, Cell[]>();
  for (const [name, layers] of Object.entries(COLUMNS)) {
    const cells: Cell[] = [];
    columns.set(name, cells);
    await runColumn(layers, (cell) => {
      cells.push(cell);
      const { fault, text, leaks, asks, ...rest } = cell;
      console.log(`${name}: ${fault}: ${text} ${JSON.stringify(rest)}`);
      for (const packet of [...leaks, ...asks].slice(0, 10)) console.log(`    ${packet}`);
    });
  }
  write(columns);
}
