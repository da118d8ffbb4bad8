/**
 * The parts of the documentation that follow from tables in the source. Run this file to write them
 * (`node test/house/documents.ts`); `documents.test.ts` fails when they are out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { LABELS } from '../../src/config/labels.ts';
import { GROUPS, SETTINGS } from '../../src/config/settings.ts';
import type { Setting } from '../../src/config/settings.ts';
import { METRICS } from '../../src/control/metrics/table.ts';
import type { MetricRow } from '../../src/core/exposition.ts';
import { ERRORS } from '../../src/core/errors.ts';
import { INJECTOR_METRICS } from '../../src/injector/metrics.ts';
import { repository } from './repository.ts';

const BEGIN = '<!-- table: begin; written by test/house/documents.ts -->';
const END = '<!-- table: end -->';

export interface Document {
  /** Path within the repository. */
  readonly path: string;
  /** What stands between the marks. */
  readonly render: () => string;
}

export const DOCUMENTS: readonly Document[] = [
  { path: 'docs/errors.md', render: renderErrors },
  { path: 'docs/configuration.md', render: renderSettings },
  { path: 'docs/metrics.md', render: () => renderMetrics(METRICS) },
  { path: 'docs/injector.md', render: () => renderMetrics(INJECTOR_METRICS) },
  { path: 'docs/docker-attach.md', render: renderLabels },
];

function renderErrors(): string {
  return Object.entries(ERRORS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, row]) => `### ${code}\n\n${row.meaning}\n\n- Exit code: ${row.exit}\n- Fix: ${row.hint}\n`)
    .join('\n');
}

function renderMetrics(table: Readonly<Record<string, MetricRow>>): string {
  const rows = Object.entries(table).map(([name, { type, labels, help }]) => {
    const named = labels.map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${type} | ${named} | ${help} |`;
  });
  return `| metric | type | labels | what |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function renderSettings(): string {
  const groups = GROUPS.map((group) => {
    const rows = [...SETTINGS.values()].filter((row) => row.group === group);
    return `### ${group}\n\n${rows.map(renderSetting).join('\n')}`;
  });
  return groups.join('\n');
}

function renderSetting(row: Setting): string {
  const code = (text: string): string => `\`${text}\``;
  const flag = row.flag === undefined ? undefined : code(`--${row.flag} ${row.kind.placeholder}`);
  const facts = [
    row.key !== undefined && flag !== undefined ? `- Flag: ${flag}` : '',
    row.short === undefined ? '' : `- Short flag: ${code(`-${row.short}`)}`,
    row.env === undefined ? '' : `- Environment: ${code(row.env)}`,
    `- Allowed: ${row.kind.allowed}${row.list === true ? '; several' : ''}`,
    row.default === undefined ? '' : `- Default: ${code(row.default)}`,
    row.required === true ? '- Required' : '',
    row.secret === true ? '- The contents of the file are secret and are never printed' : '',
  ];
  const title = row.key === undefined ? flag : code(row.key);
  return `#### ${title}\n\n${row.description}\n\n${facts.filter((fact) => fact !== '').join('\n')}\n`;
}

function renderLabels(): string {
  const rows = [...LABELS].map(([label, id]) => {
    const { kind, list, whole } = SETTINGS.get(id)!;
    const several = list === true && whole !== true ? '; several with commas between' : '';
    const allowed = id === 'bastion' ? `the name of a bastion or group; or ${kind.allowed}` : kind.allowed;
    // A bar would end the cell.
    return `| \`${label}\` | \`${id === 'rule' ? 'rules' : id}\` | ${allowed.replaceAll('|', '\\\\|')}${several} |`;
  });
  return ['| label | setting | allowed |', '|---|---|---|', ...rows, ''].join('\n');
}

/** `text` with what stands between the marks exchanged. */
export function withTable(text: string, table: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin === -1 || end < begin) throw new Error('the marks of the table are missing');
  return `${text.slice(0, begin + BEGIN.length)}\n\n${table}\n${text.slice(end)}`;
}

if (import.meta.main) {
  for (const { path, render } of DOCUMENTS) {
    const file = new URL(path, repository);
    writeFileSync(file, withTable(readFileSync(file, 'utf8'), render()));
  }
}
