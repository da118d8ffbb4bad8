import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parse } from 'yaml';
import { Health } from '../../src/control/health.ts';
import type { Counters } from '../../src/control/metrics/collect.ts';
import { Metrics } from '../../src/control/metrics/metrics.ts';
import { METRICS } from '../../src/control/metrics/table.ts';
import { OTHER, Tally } from '../../src/control/metrics/tally.ts';
import type { LiveFlow } from '../../src/core/flow-table.ts';
import { FlowTable } from '../../src/core/flow-table.ts';
import { problemsOf, readMetrics } from './metrics-text.ts';

const counters: Counters = {
  engine: { pendingDials: 3, slabsInUse: 7, synsDropped: 11, retransmits: 13 },
  dns: {
    ...{ asked: 9, local: 1, far: 8, cached: 2, stale: 0, merged: 0, failed: 1, refused: 0 },
    ...{ waiting: 1, waitingBytes: 40, cacheEntries: 5 },
  },
  relays: [{ upstream: 'main', sent: 4, received: 3, dropped: 1 }],
  udpEvicted: 0,
};

const flow: LiveFlow = {
  tuple: {
    ...{ protocol: 'tcp', family: 4 },
    source: { address: '10.0.0.2', port: 40_000 },
    destination: { address: '10.0.0.1', port: 443 },
  },
  decision: {
    ...{ kind: 'upstream', upstream: 'work', why: '' },
    rule: { text: 'via work', where: 'a "file".yaml:7' },
  },
  ...{ state: 'open', bastion: 'one', openMs: 12, bytesOut: 100, bytesIn: 2000 },
  kill() {},
};

function made(filter?: { leaked: number; refused: number }): { metrics: Metrics; flows: FlowTable } {
  const traffic = [
    { number: 1, sent: 10, received: 20, queued: 5, channels: 2, opensWaiting: 1 },
    { number: 3, sent: 30, received: 40, queued: 0, channels: 0, opensWaiting: 0 },
  ];
  const bastions = [
    { name: 'one', state: 'ready', connections: 2, channels: 2, connects: 3, losses: 2, traffic },
  ];
  const metrics: Metrics = new Metrics(async () => ({
    ...{ version: '1.2.3', health: new Health(() => 0), flows, bastions, counters, filter },
  }));
  const flows = new FlowTable({
    ...{ now: () => 0, nameOf: () => undefined, ownerOf: () => undefined },
    ended: (ended) => metrics.ended(ended),
  });
  return { metrics, flows };
}

/** Values by name with labels, as they stand. */
function values(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

test('every metric of the table is told, with its type and help, and no other', async () => {
  const { metrics, flows } = made({ leaked: 0, refused: 5 });
  flows.begin(flow);
  const text = await metrics.text();
  metrics.close();
  const told = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
  assert.deepEqual(
    told,
    Object.entries(METRICS).map(([name, { type }]) => [name, type]),
  );
  const found = values(text);
  for (const [name, { type }] of Object.entries(METRICS)) {
    // Histograms have nothing to tell before they were observed.
    if (type === 'histogram') continue;
    const samples = [...found.keys()].filter((key) => key === name || key.startsWith(`${name}{`));
    if (name !== 'netproxy_flows_total') assert.ok(samples.length > 0, `${name} has no value`);
  }
  assert.equal(found.get('netproxy_refused_packets_total'), 5);
  assert.equal(found.get('netproxy_dropped_total{what="syns"}'), 11);
});

test('each SSH connection is told by its number', async () => {
  const { metrics } = made();
  const found = values(await metrics.text());
  metrics.close();
  const of = (name: string, more = ''): number | undefined =>
    found.get(`netproxy_connection_${name}{bastion="one",connection="3"${more}}`);
  assert.deepEqual(
    [of('bytes_total', ',direction="out"'), of('bytes_total', ',direction="in"'), of('queue_bytes')],
    [30, 40, 0],
  );
  assert.equal(found.get('netproxy_connection_opens_waiting{bastion="one",connection="1"}'), 1);
  assert.equal(found.get('netproxy_connection_channels{bastion="one",connection="1"}'), 2);
});

test('what is told is in the format, and as "promtool check metrics" would have it', async () => {
  const { metrics, flows } = made({ leaked: 1, refused: 2 });
  // An odd place of a rule, which has to be escaped.
  const decision = { ...flow.decision, rule: { text: 'x', where: 'a\\b\n"c".yaml:1' } };
  await metrics.text();
  flows.end(flows.begin({ ...flow, decision }), 'finished', '');
  metrics.roundTrip('one', 30);
  const text = await metrics.text();
  metrics.close();
  const families = readMetrics(text);
  assert.deepEqual(problemsOf(families), []);
  const ended = families.find(({ name }) => name === 'netproxy_flows_total');
  assert.equal(ended?.samples.at(-1)?.labels['rule'], 'a\\b\n"c".yaml:1');
});

test('the reader of the format finds what is wrong', () => {
  const wrong = (text: string): unknown => {
    try {
      return problemsOf(readMetrics(text));
    } catch (error) {
      return (error as Error).message;
    }
  };
  const head = '# HELP a_total Help.\n# TYPE a_total counter\n';
  assert.deepEqual(wrong(`${head}a_total 1\n`), []);
  for (const text of [
    `${head}a_total 1`,
    `${head}a_total one\n`,
    `${head}a_total{b="c} 1\n`,
    `${head}a_total{b="c",b="d"} 1\n`,
    `${head}a_total{b="c\\x"} 1\n`,
    `${head}a_total 1\na_total 2\n`,
    `${head}b_total 1\n`,
    `${head}${head}a_total 1\n`,
    '# TYPE a counter\na 1\n',
    '# HELP a Help.\n# TYPE a counter\na 1\n',
    '# HELP a_total Help.\n# TYPE a_total gauge\na_total 1\n',
    '# HELP a_ms Help.\n# TYPE a_ms gauge\na_ms 1\n',
    `${head}a_total -1\n`,
    '# HELP a Help.\n# TYPE a gauge\na{quantile="1"} 1\n',
    '# HELP a Help.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    '# HELP a Help.\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
  ])
    assert.notDeepEqual(wrong(text), [], text);
});

test('without a filter nothing is claimed of leaks', async () => {
  const { metrics } = made();
  const text = await metrics.text();
  metrics.close();
  assert.doesNotMatch(text, /^netproxy_leaked_packets_total /m);
});

test('flows are counted when they end, bytes also before, and counters never fall', async () => {
  const { metrics, flows } = made();
  const id = flows.begin(flow);
  const bytes = 'netproxy_bytes_total{bastion="one",direction="in"}';
  const before = values(await metrics.text());
  assert.equal(before.get(bytes), 2000);
  assert.equal(before.get('netproxy_flows{protocol="tcp",state="open"}'), 1);
  flows.end(id, 'finished', '');
  metrics.roundTrip('one', 30);
  const after = values(await metrics.text());
  metrics.close();
  assert.equal(after.get(bytes), 2000);
  const ended =
    'netproxy_flows_total{protocol="tcp",verdict="upstream",rule="a \\"file\\".yaml:7",bastion="one",result="finished"}';
  assert.equal(after.get(ended), 1);
  assert.equal(after.get('netproxy_open_seconds_bucket{le="0.01",bastion="one"}'), 0);
  assert.equal(after.get('netproxy_open_seconds_bucket{le="0.025",bastion="one"}'), 1);
  assert.equal(after.get('netproxy_round_trip_seconds_sum{bastion="one"}'), 0.03);
  assert.equal(after.get('netproxy_bastion_losses_total{bastion="one"}'), 2);
});

test('a tally has bounded series and loses no count', () => {
  const label = fc.record({ rule: fc.nat(50).map(String), result: fc.constantFrom('a', 'b', 'c') });
  fc.assert(
    fc.property(fc.array(label, { maxLength: 300 }), fc.integer({ min: 1, max: 20 }), (all, most) => {
      const tally = new Tally(['rule'], most);
      for (const labels of all) tally.add(labels, 1);
      const { samples } = tally;
      assert.ok(samples.length <= most + 3);
      assert.equal(
        samples.reduce((sum, { value }) => sum + value, 0),
        all.length,
      );
      const kept = samples.filter(({ labels }) => labels['rule'] !== OTHER);
      for (const { labels, value } of kept) {
        assert.equal(
          value,
          all.filter(({ rule, result }) => rule === labels['rule'] && result === labels['result']).length,
        );
      }
    }),
  );
});

const page = (name: string): string =>
  readFileSync(new URL(`../../docs/monitoring/${name}`, import.meta.url), 'utf8');

/** Names in expressions that are in no table. `up` is Prometheus's own. */
function unknown(expressions: readonly string[]): string[] {
  const known = new Set(
    Object.entries(METRICS).flatMap(([name, { type }]) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name],
    ),
  );
  const named = expressions.flatMap((text) => text.match(/\b(?:netproxy|process)_\w+/g) ?? []);
  return [...new Set(named)].filter((name) => !known.has(name));
}

/** Labels that an expression selects by, or groups by, that its metrics do not have. */
function strange(expression: string): string[] {
  const names = expression.match(/\b(?:netproxy|process)_\w+?(?=_bucket\b|\b)/g) ?? [];
  const have = new Set([...names.flatMap((name) => METRICS[name]?.labels ?? []), 'instance', 'job', 'le']);
  const selected = [...expression.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label]) => label!);
  const grouped = [...expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/, */));
  return [...selected, ...grouped].filter((label) => !have.has(label));
}

test('the dashboard asks for metrics and labels that there are', () => {
  const { panels } = JSON.parse(page('dashboard.json')) as {
    panels: { id: number; targets: { expr: string }[] }[];
  };
  const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  assert.ok(expressions.length > 15);
  assert.deepEqual(unknown(expressions), []);
  assert.deepEqual(expressions.flatMap(strange), []);
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
});

test('so do the alerts, each of which says what to do', () => {
  const { groups } = parse(page('alerts.yaml')) as {
    groups: { rules: { alert: string; expr: string; annotations: Record<string, string> }[] }[];
  };
  const rules = groups.flatMap((group) => group.rules);
  assert.ok(rules.length >= 8);
  assert.deepEqual(unknown(rules.map(({ expr }) => expr)), []);
  assert.deepEqual(
    rules.flatMap(({ expr }) => strange(expr)),
    [],
  );
  for (const { alert, annotations } of rules)
    assert.ok(annotations['summary'] && annotations['description'], alert);
});

test('the check of names finds a metric and a label that there are not', () => {
  assert.deepEqual(unknown(['rate(netproxy_open_seconds[5m])', 'netproxy_nothing']), [
    'netproxy_open_seconds',
    'netproxy_nothing',
  ]);
  assert.deepEqual(strange('sum by (rule, host) (netproxy_flows_total{port="1"})'), ['port', 'host']);
});
