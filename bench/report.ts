/** The table: medians of both subjects, their ratio, and the target. */
import type { Figure, FigureId, Values } from './figures.ts';
import { FIGURES } from './figures.ts';

/** One measurement of one subject in one round. */
export interface Sample {
  readonly subject: string;
  readonly round: number;
  readonly values: Values;
}

export interface Row {
  readonly id: FigureId;
  readonly title: string;
  readonly unit: string;
  readonly medians: Readonly<Record<string, number>>;
  /** Ours as a multiple of the reference. */
  readonly ratio: number | undefined;
  readonly target: string;
  readonly met: boolean | undefined;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

interface Measured {
  readonly own: number | undefined;
  readonly ratio: number | undefined;
  /** Our median of another figure. */
  readonly other: (id: FigureId) => number | undefined;
}

export function rows(samples: readonly Sample[], subjects: readonly string[]): Row[] {
  const [ours, reference] = subjects;
  const of = (id: FigureId, subject: string | undefined): number | undefined => {
    const values = samples
      .filter((sample) => sample.subject === subject)
      .flatMap(({ values: taken }) => taken[id] ?? []);
    return values.length > 0 ? median(values) : undefined;
  };
  const table: Row[] = [];
  for (const [id, figure] of Object.entries(FIGURES) as [FigureId, Figure][]) {
    const medians: Record<string, number> = {};
    for (const subject of subjects) {
      const value = of(id, subject);
      if (value !== undefined) medians[subject] = value;
    }
    if (Object.keys(medians).length === 0) continue;
    const own = of(id, ours);
    const compared = of(id, reference);
    const ratio = own === undefined || !(compared! > 0) ? undefined : own / compared!;
    const { title, unit } = figure;
    const measured: Measured = { own, ratio, other: (name) => of(name, ours) };
    table.push({ id, title, unit, medians, ratio, target: targetText(figure), met: met(figure, measured) });
  }
  return table;
}

function targetText({ better, target }: Figure): string {
  const sign = better === 'higher' ? '>=' : '<=';
  if (target === undefined) return '';
  if ('ratio' in target) return `${sign} ${target.ratio}x`;
  if ('value' in target) return `${sign} ${target.value}`;
  return `${sign} ${target.times === 1 ? '' : `${target.times} x `}${FIGURES[target.of as FigureId].title}`;
}

/** Whether ours reaches its target; undefined without one, or when something for it was not measured. */
function met({ better, target }: Figure, { own, ratio, other }: Measured): boolean | undefined {
  if (target === undefined) return undefined;
  const value = 'ratio' in target ? ratio : own;
  const reference = 'of' in target ? other(target.of as FigureId) : 1;
  const bound = 'ratio' in target ? target.ratio : 'value' in target ? target.value : target.times;
  if (value === undefined || reference === undefined) return undefined;
  return better === 'higher' ? value >= bound * reference : value <= bound * reference;
}

export function markdown(
  table: readonly Row[],
  subjects: readonly string[],
  notes: readonly string[],
): string {
  const header = ['figure', 'unit', ...subjects, 'ratio', 'target', ''];
  const lines = table.map((row) => [
    row.title,
    row.unit,
    ...subjects.map((subject) => number(row.medians[subject])),
    row.ratio === undefined ? '' : `${row.ratio.toFixed(2)}x`,
    row.target,
    row.met === undefined ? '' : row.met ? 'met' : 'NOT met',
  ]);
  const widths = header.map((name, column) =>
    Math.max(name.length, ...lines.map((line) => line[column]!.length)),
  );
  const right = (column: number): boolean => column >= 2 && column < 2 + subjects.length + 1;
  const cells = (line: readonly string[]): string =>
    `| ${line.map((cell, i) => (right(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => '-'.repeat(width + 1) + (right(i) ? ':' : '-')).join('|')}|`;
  return [cells(header), rule, ...lines.map(cells), '', ...notes.map((note) => `- ${note}`), ''].join('\n');
}

function number(value: number | undefined): string {
  if (value === undefined) return '-';
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
