import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Rates } from '../../src/cli/rates.ts';
import { TopView } from '../../src/cli/top-view.ts';
import type { Connection } from '../../src/control/connections.ts';

const connection = (id: number, more: Partial<Connection> = {}): Connection => ({
  ...{ id, protocol: 'tcp', state: 'open', from: '10.0.0.2:4000', to: `10.0.0.${id}:443`, uid: 5 },
  ...{ verdict: 'main', bastion: 'main', rule: 'the last resort', ruleText: 'the last resort' },
  ...{ ageSeconds: 10, openMs: 2, bytesOut: 0, bytesIn: 0 },
  ...more,
});

const STATUS = {
  ...{
    version: '1.2.3',
    uptimeSeconds: 60,
    ready: true,
    conditions: [],
    flows: 0,
    leakedPackets: 0,
    farEnds: {},
  },
  bastions: [
    {
      ...{
        name: 'main',
        state: 'ready',
        reason: 'connected',
        connections: 1,
        channels: 2,
        roundTripMs: 3.25,
      },
      ...{ connects: 1, losses: 0, farEnd: {} },
    },
  ],
};

function viewOf(connections: readonly Connection[]): TopView {
  const view = new TopView((_, text) => text);
  view.see({ status: STATUS, total: connections.length, connections: new Rates().rate(connections, 0) });
  return view;
}

const selected = (view: TopView): string | undefined => {
  // oxlint-disable-next-line no-control-regex -- the mark of the selected row
  const line = view.lines(150, 20).find((one) => /\u001b\[7m/.test(one));
  return /10\.0\.0\.\d+/.exec(line ?? '')?.[0];
};

test('rates are what was carried between two looks, and over its age for what is new', () => {
  const rates = new Rates();
  const [first] = rates.rate([connection(1, { bytesOut: 1000, bytesIn: 20 })], 1000);
  assert.deepEqual([first?.outRate, first?.inRate], [100, 2]);
  const again = rates.rate([connection(1, { bytesOut: 3000, bytesIn: 20 }), connection(2)], 3000);
  assert.deepEqual(
    again.map(({ outRate, inRate }) => [outRate, inRate]),
    [
      [1000, 0],
      [0, 0],
    ],
  );
});

test('it shows totals, bastions and connections, the fastest first', () => {
  const view = viewOf([connection(1, { bytesIn: 10 }), connection(2, { bytesIn: 5000, bytesOut: 70 })]);
  const lines = view.lines(150, 20);
  assert.equal(lines.length, 20);
  assert.match(
    lines[0]!,
    /^netproxy 1\.2\.3, ready, up 60 s, 2 connections, out 7 B\/s, in 501 B\/s, leaked packets 0$/,
  );
  assert.match(lines[2]!, /^main +ready +3\.3 ms +1 +2 +connected$/);
  assert.match(lines[4]!, /^ID +STATE +OWNER +TARGET +VIA +RULE +AGE +OUT\/S +IN\/S +OUT +IN$/);
  assert.match(lines[5]!, /10\.0\.0\.2:443.* 7 B +500 B +70 B +5\.0 kB/);
  assert.match(lines.at(-1)!, /^by rate   q quit/);
});

test('keys sort, reverse, select, and the selection stays with its connection', () => {
  const view = viewOf([1, 2, 3].map((id) => connection(id, { bytesIn: id, ageSeconds: id })));
  assert.equal(selected(view), '10.0.0.1', 'equal rates: by id');
  for (const key of ['j', '\u001b[B', '\u001b[B']) view.key(key);
  assert.equal(selected(view), '10.0.0.3', 'the last one is the last');
  view.key('s');
  assert.match(view.lines(150, 20).at(-1)!, /^by bytes/);
  assert.match(view.lines(150, 20)[5]!, /10\.0\.0\.3/);
  assert.equal(selected(view), '10.0.0.3');
  view.key('r');
  assert.match(view.lines(150, 20)[5]!, /10\.0\.0\.1/);
  view.see({ status: STATUS, total: 1, connections: new Rates().rate([connection(9)], 0) });
  assert.equal(selected(view), '10.0.0.9', 'when it is gone, the first one');
  view.key('p');
  assert.ok(view.paused);
});

test('a connection is ended only after a yes', () => {
  const view = viewOf([connection(1), connection(2)]);
  view.key('j');
  assert.equal(view.key('x'), undefined);
  assert.equal(view.lines(150, 20).at(-1), 'end connection 2? y/n');
  assert.equal(view.key('q'), undefined);
  assert.equal(view.lines(150, 20).at(-1), 'nothing was ended');
  view.key('x');
  assert.deepEqual(view.key('y'), { kind: 'kill', id: 2 });
  assert.deepEqual(view.key('q'), { kind: 'quit' });
  assert.deepEqual(view.key('\u0003'), { kind: 'quit' });
  const none = viewOf([]);
  none.key('x');
  assert.equal(none.lines(80, 20).at(-1), 'there is no connection');
});

test('whatever the size, the keys and the list, it fits and the selected one is seen', () => {
  const key = fc.constantFrom('j', 'k', 's', 'r', 'x', 'y', '\u001b[5~', '\u001b[6~', '\u001b[Z', 'ä');
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 40 }),
      fc.array(key, { maxLength: 60 }),
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 1, max: 60 }),
      (ids, keys, columns, rows) => {
        const view = viewOf(ids.map((id) => connection(id, { name: 'a\u001b[2J'.repeat(id % 9) })));
        for (const each of keys) {
          view.key(each);
          view.lines(columns, rows);
        }
        const lines = view.lines(columns, rows);
        assert.ok(lines.length <= rows);
        // oxlint-disable-next-line no-control-regex -- what remains is what others wrote
        const bare = lines.map((line) => line.replaceAll(/\u001b\[2?7m/g, ''));
        for (const line of bare) assert.ok(line.length <= columns && !line.includes('\u001b'));
        if (ids.length > 0 && rows >= 7)
          assert.equal(lines.filter((line) => line.includes('\u001b[7m')).length, 1);
      },
    ),
  );
});
