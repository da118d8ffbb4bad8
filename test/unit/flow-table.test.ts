import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { cellsOf, COLUMNS, connectionsInput } from '../../src/cli/connections.ts';
import { parseArguments } from '../../src/cli/arguments.ts';
import { ageText, bytesText, plain, tableLines } from '../../src/cli/format.ts';
import { connectionOf, listConnections, SORT_KEYS } from '../../src/control/connections.ts';
import { FlowLog } from '../../src/control/flow-log.ts';
import type { FlowTuple } from '../../src/core/flow.ts';
import { FlowTable } from '../../src/core/flow-table.ts';
import type { EndedFlow, FlowDecision, FlowEntry, LiveFlow } from '../../src/core/flow-table.ts';
import {
  FLOW_OWNER_LOOKUPS,
  RECENT_CHARACTERS,
  RECENT_LINES,
  RECENT_UNWRITTEN_CHARACTERS,
} from '../../src/core/limits.ts';
import type { LeveledLog } from '../../src/core/logger.ts';
import { RecentLines } from '../../src/core/recent-lines.ts';

const DECISION: FlowDecision = {
  kind: 'upstream',
  upstream: 'work',
  rule: { text: 'to 10.0.0.0/8, via work', where: 'netproxy.yaml:7' },
  why: 'to 10.0.0.1',
};

const tuple = (port: number, protocol: 'tcp' | 'udp' = 'tcp'): FlowTuple => ({
  ...{ protocol, family: 4 },
  source: { address: '10.0.0.2', port: 40_000 },
  destination: { address: '10.0.0.1', port },
});

function live(port: number, more: Partial<LiveFlow> = {}): LiveFlow {
  const rest = { state: 'open', bastion: 'one', openMs: 1.2345, bytesOut: port, bytesIn: 10 } as const;
  return { tuple: tuple(port), decision: DECISION, ...rest, kill() {}, ...more };
}

interface Made {
  readonly table: FlowTable;
  readonly ended: EndedFlow[];
  readonly asked: FlowTuple[];
  readonly clock: { now: number };
}

function made(): Made {
  const ended: EndedFlow[] = [];
  const asked: FlowTuple[] = [];
  const clock = { now: 1000 };
  const table = new FlowTable({
    now: () => clock.now,
    nameOf: (address) => (address === '10.0.0.1' ? 'db.example' : undefined),
    ownerOf: (of) => {
      asked.push(of);
      return { uid: 1000 };
    },
    ended: (flow) => ended.push(flow),
  });
  return { table, ended, asked, clock };
}

test('a flow stands in the table until its end, which is told once', () => {
  const { table, ended, clock } = made();
  const [first, second] = [table.begin(live(1)), table.begin(live(2))];
  assert.notEqual(first, second);
  assert.equal(table.size, 2);
  assert.deepEqual([table.get(first)?.name, table.get(first)?.owner], ['db.example', { uid: 1000 }]);
  clock.now = 3500;
  table.end(first, 'finished', 'in order');
  table.end(first, 'killed', 'late');
  assert.deepEqual(
    ended.map(({ id, result, durationMs }) => [id, result, durationMs]),
    [[first, 'finished', 2500]],
  );
  assert.equal(table.size, 1);
  table.turnedAway(tuple(9), DECISION, 'refused', 'refused by rule');
  assert.deepEqual([table.size, ended[1]?.result, ended[1]?.flow.bytesOut], [1, 'refused', 0]);
});

test('in a burst of flows the kernel is asked about the first ones only', () => {
  const { table, asked, clock } = made();
  for (let port = 0; port < FLOW_OWNER_LOOKUPS + 10; port++) table.begin(live(port));
  assert.equal(asked.length, FLOW_OWNER_LOOKUPS);
  clock.now += 1000;
  table.begin(live(1));
  assert.equal(asked.length, FLOW_OWNER_LOOKUPS + 1);
});

test('the list is sorted by every key, and cut after sorting', () => {
  const { table, clock } = made();
  for (const port of [5, 300, 40]) {
    table.begin(live(port));
    clock.now += 1000;
  }
  const ports = (sort: string, limit = 10): number[] =>
    listConnections(table.entries(), clock.now, { sort, limit }).connections.map(({ bytesOut }) => bytesOut);
  assert.deepEqual(ports('age'), [5, 300, 40], 'the oldest first');
  assert.deepEqual(ports('out'), [300, 40, 5]);
  assert.deepEqual(ports('to'), [300, 40, 5], 'words in their order');
  assert.deepEqual(ports('bytes', 1), [300]);
  for (const key of Object.keys(SORT_KEYS)) assert.equal(ports(key).length, 3, key);
  assert.equal(listConnections(table.entries(), clock.now, { limit: 1 }).total, 3);
});

const ENTRY: FlowEntry = { id: 7, flow: live(443), name: 'db.example', owner: { uid: 5 }, startedAt: 0 };

test('a connection tells who, where, by which rule and how much', () => {
  assert.deepEqual(connectionOf(ENTRY, 2500), {
    ...{ id: 7, protocol: 'tcp', state: 'open', from: '10.0.0.2:40000', to: '10.0.0.1:443' },
    ...{ name: 'db.example', uid: 5, pid: undefined, process: undefined, verdict: 'work', bastion: 'one' },
    ...{ rule: 'netproxy.yaml:7', ruleText: 'to 10.0.0.0/8, via work', ageSeconds: 2.5, openMs: 1.23 },
    ...{ bytesOut: 443, bytesIn: 10 },
  });
  assert.deepEqual(cellsOf(connectionOf(ENTRY, 2500)), [
    ...['7', 'open', 'uid 5', 'db.example:443', 'work: one', 'netproxy.yaml:7', '2.5 s', '443 B', '10 B'],
  ]);
});

function logger(level: string): { log: LeveledLog; written: string[]; recent: RecentLines } {
  const written: string[] = [];
  const recent = new RecentLines();
  const write = (of: string) => (fields: object, message: string) => {
    if (of === 'debug' && level !== 'debug') return;
    written.push(`${of} ${message}`);
    recent.add(JSON.stringify({ level: of, ...fields, msg: message }));
  };
  const log: LeveledLog = {
    ...{ level, isLevelEnabled: (asked) => asked !== 'debug' || level === 'debug' },
    ...{ debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
  };
  return { log, written, recent };
}

for (const [logging, level, expected] of [
  ['failed', 'info', ['info flow rejected: forbidden']],
  [
    'all',
    'info',
    ['info flow closed: in order', 'info flow rejected: forbidden', 'info flow rejected: no rule'],
  ],
  ['none', 'info', []],
  [
    ...(['none', 'debug'] as const),
    ['debug flow closed: in order', 'debug flow rejected: forbidden', 'debug flow rejected: no rule'],
  ],
] as const) {
  test(`log.flows "${logging}" at level ${level} writes ${expected.length} of 3 lines, and all are kept`, () => {
    const { log, written, recent } = logger(level);
    const lines = new FlowLog(log, recent, logging);
    const udp = { ...ENTRY, flow: live(443, { tuple: tuple(443, 'udp') }) };
    lines.write({ ...ENTRY, result: 'finished', message: 'in order', durationMs: 1 });
    lines.write({ ...ENTRY, result: 'prohibited', message: 'forbidden', durationMs: 1 });
    lines.write({ ...udp, result: 'refused', message: 'no rule', durationMs: 1 });
    assert.deepEqual(written, expected);
    const kept = recent.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      kept.map(({ result }) => result),
      ['finished', 'prohibited', 'refused'],
    );
    assert.equal(kept[0]?.['rule'], 'netproxy.yaml:7 to 10.0.0.0/8, via work');
    assert.equal(kept[0]?.['name'], 'db.example');
  });
}

test('recent lines are the last ones, within their bounds', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3000), { minLength: 0, maxLength: 400 }), (lengths) => {
      const recent = new RecentLines();
      const all = lengths.map((length, index) => `${index}${'x'.repeat(length)}`);
      for (const line of all) recent.add(`${line}\n`);
      const { lines } = recent;
      assert.deepEqual(lines, all.slice(all.length - lines.length));
      const characters = lines.reduce((sum, line) => sum + line.length, 0);
      assert.ok(characters <= RECENT_CHARACTERS);
      const next = all[all.length - lines.length - 1];
      assert.ok(next === undefined || characters + next.length > RECENT_CHARACTERS, 'none is dropped early');
    }),
  );
  const recent = new RecentLines();
  for (let line = 0; line < 3 * RECENT_LINES; line++) recent.add(String(line));
  assert.equal(recent.lines.length, RECENT_LINES);
  assert.equal(recent.lines.at(-1), String(3 * RECENT_LINES - 1));
});

test('lines that are not written yet are bounded too, and written when they are read', () => {
  const recent = new RecentLines();
  let wrote = 0;
  for (let line = 0; line < 3 * RECENT_LINES; line++) recent.add(() => `${line} ${wrote++}`);
  assert.equal(wrote, 0);
  assert.ok(recent.lines.length <= RECENT_CHARACTERS / RECENT_UNWRITTEN_CHARACTERS);
  assert.match(recent.lines.at(-1)!, new RegExp(`^${3 * RECENT_LINES - 1} `));
});

test('a follower gets every further line until it stops', () => {
  const recent = new RecentLines();
  const got: string[] = [];
  const stop = recent.follow((line) => got.push(line));
  recent.add('a\n');
  stop();
  recent.add('b');
  assert.deepEqual(got, ['a']);
});

test('numbers are short, and text of others obeys no terminal', () => {
  const bytes = [0, 999, 1000, 12_345, 99_949, 123_456, 5e6, 2e9, 7e15].map(bytesText);
  assert.deepEqual(bytes, [
    '0 B',
    '999 B',
    '1.0 kB',
    '12.3 kB',
    '99.9 kB',
    '123 kB',
    '5.0 MB',
    '2.0 GB',
    '7000 TB',
  ]);
  assert.deepEqual([0, 9.94, 10, 119, 120, 7199, 7200, 172_800].map(ageText), [
    ...['0.0 s', '9.9 s', '10 s', '119 s', '2 min', '120 min', '2 h', '2 d'],
  ]);
  assert.equal(plain('a\u001b[2Jb\u0007c\u202ed'), 'a?[2Jb?c?d');
});

test('a table is never wider than the terminal', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.string(), { maxLength: 9 }), { maxLength: 5 }),
      fc.integer({ min: 1, max: 200 }),
      (rows, width) => {
        for (const line of tableLines(COLUMNS, rows, width)) assert.ok(line.length <= width);
      },
    ),
  );
  assert.deepEqual(
    tableLines(
      [
        { title: 'N', right: true },
        { title: 'TEXT', elastic: true },
      ],
      [['1', 'a'.repeat(30)]],
      15,
    ),
    ['N  TEXT', '1  aaaaaaaaaaa…'],
  );
});

test('flags of "connections" are judged, all at once', () => {
  const args = parseArguments(['connections', '--sort', 'byts', '--limit', 'x', '--kill', '-1']);
  assert.throws(() => connectionsInput(args), /3 problems found/);
  assert.deepEqual(connectionsInput(parseArguments(['connections', '--sort', 'bytes', '--watch'])), {
    ...{ sort: 'bytes', limit: 1000, kill: undefined, watch: true },
  });
});
