import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { chartFiles, valuesOf } from './chart.ts';
import { repository } from './repository.ts';

const read = (path: string): string => readFileSync(new URL(path, repository), 'utf8');

test('the files of the chart that follow from others are what these say', () => {
  const stale = [...chartFiles()].filter(([path, text]) => read(path) !== text).map(([path]) => path);
  assert.deepEqual(stale, [], 'run: node test/house/chart.ts');
});

test('a value without a comment is found, and the comment of a first key is its own', () => {
  assert.throws(() => valuesOf('# One.\na: 1\nb: 2\n'), /b has no comment/);
  assert.throws(() => valuesOf('a:\n  # Two.\n  b: 2\n  c: 3\n'), /a\.c has no comment/);
  assert.deepEqual(
    valuesOf('# Head.\n\n# One.\na: 1\nb:\n  # Two,\n  # still.\n  c: [2]\n# Whole.\nd: { e: 1 }\n'),
    [
      { path: 'a', what: 'One.', fallback: 1 },
      { path: 'b.c', what: 'Two, still.', fallback: [2] },
      { path: 'd', what: 'Whole.', fallback: { e: 1 } },
    ],
  );
});

interface SchemaNode {
  readonly properties?: Record<string, SchemaNode>;
  readonly additionalProperties?: unknown;
  readonly $ref?: string;
}

test('the schema has exactly the values that there are, and no other key is let pass', () => {
  const schema = JSON.parse(read('charts/netproxy/values.schema.json')) as SchemaNode;
  const values = parse(read('charts/netproxy/values.yaml')) as Record<string, unknown>;
  // Of Helm's own making, for subcharts.
  const beside = ['global'];
  const compare = (node: SchemaNode, value: Record<string, unknown>, path: string): string[] => {
    if (node.properties === undefined) return [];
    const known = Object.keys(node.properties);
    return [
      ...(node.additionalProperties === false ? [] : [`${path} lets other keys pass`]),
      ...known
        .filter((key) => !(key in value) && !beside.includes(key) && path !== '.certManager.issuerRef')
        .map((key) => `${path}.${key} has no default`),
      ...Object.keys(value)
        .filter((key) => !known.includes(key))
        .map((key) => `${path}.${key} is not in the schema`),
      ...known.flatMap((key) => {
        const below = value[key];
        return typeof below === 'object' && below !== null && !Array.isArray(below)
          ? compare(node.properties?.[key] ?? {}, below as Record<string, unknown>, `${path}.${key}`)
          : [];
      }),
    ];
  };
  assert.deepEqual(compare(schema, values, ''), []);
});

test('the version of the image is that of the product', () => {
  const chart = parse(read('charts/netproxy/Chart.yaml')) as { appVersion: string };
  assert.equal(chart.appVersion, (JSON.parse(read('package.json')) as { version: string }).version);
});

test('the pages about it name only files that exist', () => {
  for (const page of ['charts/netproxy/README.md', 'docs/kubernetes.md']) {
    const links = [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1] ?? '');
    assert.ok(links.length > 0);
    const missing = links.filter((link) => !existsSync(new URL(link, new URL(page, repository))));
    assert.deepEqual(missing, [], page);
  }
});
