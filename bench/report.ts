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

export function rows(samples: readonly Sample[], subjects: readonly string[]): Row[] {
  const [ours, reference] = subjects;
  const table: Row[] = [];
  for (const [id, figure] of Object.entries(FIGURES) as [FigureId, Figure][]) {
    const medians: Record<string, number> = {};
    for (const subject of subjects) {
      const values = samples
        .filter((sample) => sample.subject === subject)
        .flatMap(({ values }) => values[id] ?? []);
      if (values.length > 0) medians[subject] = median(values);
    }
    if (Object.keys(medians).length === 0) continue;
    const own = ours === undefined ? undefined : medians[ours];
    const other = reference === undefined ? undefined : medians[reference];
    const ratio = own === undefined || other === undefined ? undefined : own / other;
    const { title, unit } = figure;
    table.push({ id, title, unit, medians, ratio, target: targetText(figure), met: met(figure, own, ratio) });
  }
  return table;
}

function targetText({ better, target }: Figure): string {
  const sign = better === 'higher' ? '>=' : '<=';
  if (target?.ratio !== undefined) return `${sign} ${target.ratio}x`;
  if (target?.value !== undefined) return `${sign} ${target.value}`;
  return '';
}

function met(
  { better, target }: Figure,
  value: number | undefined,
  ratio: number | undefined,
): boolean | undefined {
  const [got, bound] = target?.ratio === undefined ? [value, target?.value] : [ratio, target.ratio];
  if (got === undefined || bound === undefined) return undefined;
  return better === 'higher' ? got >= bound : got <= bound;
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
