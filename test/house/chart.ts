/**
 * The files of the chart that follow from others: the schema of what netproxy.yaml may have from the table of
 * settings, the table of README.md from the comments of values.yaml, the rules for alerts from docs/monitoring.
 * Run this file to write them (`node test/house/chart.ts`); `chart.test.ts` fails when they are out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { isMap, isScalar, parseDocument } from 'yaml';
import type { Pair, Scalar, YAMLMap } from 'yaml';
import { SETTINGS } from '../../src/config/settings.ts';
import type { Setting } from '../../src/config/settings.ts';
import { withTable } from './documents.ts';
import { repository } from './repository.ts';

const CHART = 'charts/netproxy';
const README = `${CHART}/README.md`;
const SCHEMA = `${CHART}/values.schema.json`;

const read = (path: string): string => readFileSync(new URL(path, repository), 'utf8');

type Schema = Record<string, unknown>;

/** Lists of maps in the configuration, and the definition of the schema that says what is in them. */
const LISTS = { 'bastions[].': 'bastion', 'groups[].': 'group', 'rules[].': 'rule' } as const;

/** Settings that a pod has by its variables, so that they would be without effect in the file. */
const BY_THE_POD = ['local', 'control.socket', 'control.listen'];

/** Each file, as its path in the repository, and what it should have. */
export function chartFiles(): ReadonlyMap<string, string> {
  return new Map([
    [SCHEMA, renderSchema(read(SCHEMA))],
    [README, withTable(read(README), renderValues())],
    [`${CHART}/files/alerts.yaml`, read('docs/monitoring/alerts.yaml')],
  ]);
}

/** The schema with those definitions exchanged that follow from the table of settings. */
function renderSchema(text: string): string {
  const schema = JSON.parse(text) as { definitions: Schema };
  const tops: Record<string, Schema> = { bastion: open(), group: open(), rule: open(), options: open() };
  for (const row of SETTINGS.values()) {
    if (row.key === undefined || BY_THE_POD.includes(row.key)) continue;
    const list = Object.entries(LISTS).find(([prefix]) => row.key?.startsWith(prefix));
    put(tops[list?.[1] ?? 'options']!, row.key.slice(list?.[0].length ?? 0).split('.'), row);
  }
  Object.assign(schema.definitions, tops);
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

const open = (): Schema => ({ type: 'object', additionalProperties: false, properties: {} });

function put(map: Schema, [word = '', ...rest]: readonly string[], row: Setting): void {
  const properties = map['properties'] as Record<string, Schema>;
  if (rest.length > 0) {
    put((properties[word] ??= open()), rest, row);
    return;
  }
  properties[word] = { description: row.description, ...valueOf(row) };
  if (row.required === true) map['required'] = [...((map['required'] as string[] | undefined) ?? []), word];
}

/** netproxy itself judges the values; here are their types, and the words where there are few. */
function valueOf(row: Setting): Schema {
  // Words may be some of what is allowed: "true", or a path.
  const { allowed, words: some } = row.kind;
  const all = some !== undefined && allowed === some.join(', ');
  const words = all
    ? some.map((word) => (word === 'true' || word === 'false' ? word === 'true' : word))
    : undefined;
  const item: Schema = words === undefined ? { type: ['string', 'number', 'boolean'] } : { enum: words };
  if (row.list !== true) return item;
  const list = { type: 'array', items: item };
  return row.one === true ? { anyOf: [item, list] } : list;
}

/** A value of values.yaml, or a map of some that is told as a whole. */
interface Value {
  readonly path: string;
  readonly what: string;
  readonly fallback: unknown;
}

/** All of them, in order. Throws at one that no comment stands above. */
export function valuesOf(text: string): Value[] {
  const document = parseDocument(text);
  const found: Value[] = [];
  const visit = (map: YAMLMap, prefix: string): void => {
    for (const [index, item] of (map.items as Pair<Scalar>[]).entries()) {
      const key = item.key;
      const path = `${prefix}${String(key.value)}`;
      // The comment of the first key of a map is taken for one of the map.
      const comment = key.commentBefore ?? (index === 0 ? map.commentBefore : undefined);
      const value: unknown = item.value;
      if (isMap(value) && value.flow !== true && comment === undefined) visit(value, `${path}.`);
      else if (comment === undefined || comment === null)
        throw new Error(`values.yaml: ${path} has no comment`);
      else
        found.push({
          path,
          what: paragraph(comment),
          fallback: isScalar(value) ? value.value : JSON.parse(JSON.stringify(value)),
        });
    }
  };
  visit(document.contents as YAMLMap, '');
  return found;
}

/** The last one, which stands right above the key: before it is what is said of the file. */
function paragraph(comment: string): string {
  const lines = comment.split('\n').map((line) => line.trim());
  return lines.slice(lines.lastIndexOf('') + 1).join(' ');
}

function renderValues(): string {
  const cell = (text: string): string => text.replaceAll('|', String.raw`\|`);
  const rows = valuesOf(read(`${CHART}/values.yaml`)).map(
    ({ path, what, fallback }) => `| \`${path}\` | ${cell(what)} | \`${cell(JSON.stringify(fallback))}\` |`,
  );
  const { definitions } = JSON.parse(read(SCHEMA)) as {
    definitions: { profile: { properties: Record<string, { description: string }> } };
  };
  const keys = Object.entries(definitions.profile.properties).map(
    ([key, { description }]) => `| \`profiles.NAME.${key}\` | ${cell(description)} |`,
  );
  return [
    '| value | what | default |',
    '|---|---|---|',
    ...rows,
    '',
    '| of a profile | what |',
    '|---|---|',
    ...keys,
    '',
  ].join('\n');
}

if (import.meta.main) {
  for (const [path, text] of chartFiles()) writeFileSync(new URL(path, repository), text);
  // The table has what the schema says of profiles.
  writeFileSync(new URL(README, repository), withTable(read(README), renderValues()));
}
