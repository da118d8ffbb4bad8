/** What the demo prints. Colours only where somebody looks at them. */

const colours = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint = (code: number, text: string): string => (colours ? `\u001B[${code}m${text}\u001B[0m` : text);

const LABEL_WIDTH = 34;
let failures = 0;

/** Starts a part of the story. */
export function part(title: string): void {
  console.log(`\n${paint(1, title)}`);
}

export function say(text: string): void {
  console.log(`  ${text}`);
}

/** One line of what was tried, what came of it, and whether it is what should come. */
export function result(label: string, outcome: string, good: boolean): void {
  if (!good) failures++;
  const verdict = good ? paint(32, 'ok  ') : paint(31, 'FAIL');
  console.log(`  ${verdict} ${label.padEnd(LABEL_WIDTH)} ${outcome}`);
}

/** A table with aligned columns. */
export function table(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const [index, row] of rows.entries()) {
    const line = row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
    console.log(`  ${index === 0 ? paint(2, line) : line}`);
  }
}

export function failureCount(): number {
  return failures;
}
