/** What the API server says of the objects of the chart that are for operators, by the definitions that these bring with them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { cases, CHART, dependents, objects, template } from '../chart/helm.ts';
import type { Case, KubernetesObject } from '../chart/helm.ts';
import { openCluster, outsideLab } from './cluster.ts';
import type { Cluster, TestNamespace } from './cluster.ts';
import { defineKinds, forgetKinds, isForeign, within } from './operators.ts';

/** Those that the chart has objects of. */
const KINDS = ['Certificate', 'Issuer', 'PodMonitor', 'PrometheusRule', 'ServiceMonitor'];

/** What no case of the chart's own tests has: everything for operators that values can add. */
const RELABELINGS = [
  { sourceLabels: ['__meta_kubernetes_pod_node_name'], targetLabel: 'node' },
  { action: 'labeldrop', regex: 'pod_template_hash' },
];
const MORE: Case = {
  name: 'all, with rules for alerts',
  chart: CHART,
  args: [
    ...['--values', join(import.meta.dirname, '../chart/cases/all.yaml')],
    ...['--set', 'metrics.prometheusRule.enabled=true,metrics.prometheusRule.labels.release=prometheus'],
    ...['--set-json', `metrics.podMonitor.relabelings=${JSON.stringify(RELABELINGS)}`],
    ...['--set-json', 'certManager={"enabled":true}'],
  ],
};

/** In a kind: what of it as JSON is replaced by what, and what is said of that. */
const WRONG: readonly [kind: string, right: string, wrong: string, said: RegExp][] = [
  ['Certificate', '"ECDSA"', '"EC"', /spec\.privateKey\.algorithm: Unsupported value: "EC"/],
  ['Certificate', '"server auth"', '"server"', /spec\.usages\[0\]: Unsupported value: "server"/],
  ['Issuer', '"selfSigned":{}', '"selfSigned":true', /spec\.selfSigned.* must be of type object/],
  ['PodMonitor', '"interval":"30s"', '"interval":"30"', /spec\.podMetricsEndpoints\[0\]\.interval/],
  ['ServiceMonitor', '"interval":"30s"', '"interval":"30"', /spec\.endpoints\[0\]\.interval/],
  ['PrometheusRule', '"for":"', '"for":"some ', /spec\.groups\[0\]\.rules\[\d+\]\.for/],
];

/** Objects whose names are anybody's: what is in them is not looked at. */
const FREE = new Set(['matchLabels', 'labels', 'annotations']);

/** Paths, as the API server writes them, of a value's objects that have a definite set of fields. */
function* places(value: unknown, path: string): Generator<string> {
  if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) yield* places(each, `${path}[${index}]`);
  } else if (typeof value === 'object' && value !== null) {
    yield path;
    for (const [name, each] of Object.entries(value))
      if (!FREE.has(name)) yield* places(each, `${path}.${name}`);
  }
}

/** The value with a field in each of these objects that nobody knows. */
function withUnknown(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withUnknown);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).map(([name, each]) => [
    name,
    FREE.has(name) ? each : withUnknown(each),
  ]);
  return { ...Object.fromEntries(fields), nobodys: 'x' };
}

// They are defined for all users of a cluster, which may have them already.
describe('operators', { skip: outsideLab() }, () => {
  const charts = dependents();
  let cluster: Cluster;
  let place: TestNamespace;
  before(async () => {
    cluster = await openCluster();
    await defineKinds(cluster);
    place = await cluster.namespace();
  });
  after(async () => {
    charts.close();
    await place?.remove();
    if (cluster !== undefined) await forgetKinds(cluster);
    await cluster?.close();
  });

  const foreign = ({ chart, args }: Case): KubernetesObject[] =>
    objects(template(chart, ...args)).filter(isForeign);
  /** Each kind once. */
  const samples = new Map<string, KubernetesObject>();
  const matrix = [...cases(charts.folder), MORE].map((each) => ({ ...each, all: foreign(each) }));
  for (const { all } of matrix) for (const object of all) samples.set(object.kind, object);

  const dryRun = ['apply', '--dry-run=server', '--validate=strict', '--output=name', '--filename=-'];
  /** What the API server has against an object; fails when it has nothing. */
  const refusal = async (object: KubernetesObject, spec: unknown): Promise<string> => {
    const input = within(place.name, [{ ...object, spec }]);
    const { code, stdout, stderr } = await place.kubectl(dryRun, { input, mayFail: true });
    assert.notEqual(code, 0, stdout);
    return stderr;
  };

  for (const { name, all } of matrix.filter((each) => each.all.length > 0)) {
    const kinds = [...new Set(all.map(({ kind }) => kind))].sort();
    test(`take ${kinds.join(', ')} of the case ${name}, and know every field`, async () => {
      const { stdout } = await place.kubectl(dryRun, { input: within(place.name, all) });
      assert.equal(stdout.trim().split('\n').length, all.length);
    });
  }

  test('have been given each kind that they define for the chart', () => {
    assert.deepEqual([...samples.keys()].sort(), KINDS);
  });

  for (const kind of KINDS) {
    test(`know no other field anywhere in ${kind}`, async () => {
      const object = samples.get(kind)!;
      const spec = object['spec'];
      const told = [
        ...(await refusal(object, withUnknown(spec))).matchAll(/unknown field "([^"]+)\.nobodys"/g),
      ];
      assert.deepEqual(told.map(([, path]) => path ?? '').sort(), [...places(spec, 'spec')].sort());
    });
  }

  for (const [kind, right, wrong, said] of WRONG) {
    test(`refuse ${wrong} in ${kind}`, async () => {
      const object = samples.get(kind)!;
      const text = JSON.stringify(object['spec']);
      assert.ok(text.includes(right), text);
      assert.match(await refusal(object, JSON.parse(text.replace(right, wrong))), said);
    });
  }
});
