/** Numbers and tables as people read them. */

const KILO = 1000;
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

/** Such as `12 B`, `3.4 kB`, `120 MB`: never more than 7 columns below a petabyte. */
export function bytesText(bytes: number): string {
  let value = bytes;
  for (const unit of ['B', 'kB', 'MB', 'GB', 'TB']) {
    if (value < KILO || unit === 'TB') {
      return `${unit === 'B' || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    }
    value /= KILO;
  }
  return '';
}

/** Such as `4.2 s`, `3 min`, `5 h`, `12 d`. */
export function ageText(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 2 * MINUTE_S) return `${Math.round(seconds)} s`;
  if (seconds < 2 * HOUR_S) return `${Math.round(seconds / MINUTE_S)} min`;
  return seconds < 2 * DAY_S ? `${Math.round(seconds / HOUR_S)} h` : `${Math.round(seconds / DAY_S)} d`;
}

export interface Column {
  readonly title: string;
  /** Numbers stand at the right. */
  readonly right?: true;
  /** May be cut when there is no room. */
  readonly elastic?: true;
}

/** Narrowest that a column is cut to. */
const ELASTIC_MIN = 8;

/** Rows under their titles, each line at most `width` columns wide, without newlines. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number = Infinity,
): string[] {
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  let over = widths.reduce((sum, each) => sum + each + 2, -2) - width;
  while (over > 0) {
    const elastic = columns.flatMap((column, index) => (column.elastic === true ? [index] : []));
    const widest = elastic.toSorted((a, b) => widths[b]! - widths[a]!)[0];
    if (widest === undefined || widths[widest]! <= ELASTIC_MIN) break;
    widths[widest]!--;
    over--;
  }
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => {
        const text = cut(cell, widths[index]!);
        return columns[index]?.right === true ? text.padStart(widths[index]!) : text.padEnd(widths[index]!);
      })
      .join('  ')
      .trimEnd()
      .slice(0, width);
  return [line(columns.map(({ title }) => title)), ...rows.map(line)];
}

const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(width - 1, 0))}…`;

/** What others wrote, such as names of targets, without anything that a terminal would obey. */
export function plain(text: string): string {
  return text.replaceAll(/[^\P{C}]/gu, '?');
}
