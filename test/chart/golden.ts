/** Writes what the chart renders to, for a person to read the difference: `npm run golden`. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cases, dependents, GOLDEN, template } from './helm.ts';

const charts = dependents();
try {
  rmSync(GOLDEN, { recursive: true, force: true });
  mkdirSync(GOLDEN);
  for (const { name, chart, args } of cases(charts.folder))
    writeFileSync(join(GOLDEN, `${name}.yaml`), template(chart, ...args));
} finally {
  charts.close();
}
