// What becomes of flows that native code joined to a channel before JavaScript dealt with the answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChannelEnd } from '../../src/core/dialer.ts';
import { ChannelTable } from '../../src/ssh/channel-table.ts';
import { PendingDial } from '../../src/ssh/dial.ts';
import type { Link } from '../../src/ssh/link.ts';
import type { Protocol } from '../../src/ssh/protocol.ts';
import type { Scheduler } from '../../src/ssh/scheduler.ts';

const FLOW = 77;
const TARGET = { address: '192.0.2.1', port: 80 };
const ANSWER = { recipient: 0, sender: 5, window: 1000, packetSize: 1000 };

/** A table with one dial of a flow under way. `joined`: whether native code has joined the flow already. */
function dialled(joined: boolean): {
  table: ChannelTable;
  dial: PendingDial;
  log: string[];
  totals: number[];
} {
  const log: string[] = [];
  const totals = [0, 0, 0];
  const protocol = {
    directTcpip: () => log.push('open'),
    channelClose: (id: number) => log.push(`close ${id}`),
  };
  const native = {
    expect: (id: number, flow: number) => log.push(`expect ${id} ${flow}`),
    unexpect: (id: number) => {
      log.push(`unexpect ${id}`);
      return joined;
    },
    attach: (id: number, flow: number) => log.push(`attach ${id} ${flow}`),
    detach: (id: number) => log.push(`detach ${id}`),
    readTotals: () => {},
    totals,
  };
  const table = new ChannelTable(protocol as unknown as Protocol, {} as Scheduler);
  table.link = { native } as unknown as Link;
  const half = {
    nativeSource: { flow: FLOW, moved() {} },
    nativeSink: { flow: FLOW, moved() {} },
    end: () => log.push('end'),
  };
  const dial = new PendingDial(
    TARGET,
    TARGET,
    {
      flow: FLOW,
      opened(channel) {
        log.push('opened');
        channel.start(half as never, half as never, (end: ChannelEnd) => log.push(end));
      },
      failed: ({ reason }) => log.push(reason),
    },
    () => {},
  );
  table.open(dial);
  // The answer may come as soon as the open is queued.
  assert.deepEqual(log.splice(0), [`expect 0 ${FLOW}`, 'open']);
  return { table, dial, log, totals };
}

test('a connection that is lost before the answer hands the dial back', () => {
  const { table, dial, log } = dialled(false);
  assert.deepEqual(table.lost(), [dial]);
  assert.deepEqual(log, ['unexpect 0']);
});

test('one that is lost after the application was told ends the flow, which is dialled nowhere else', () => {
  const { table, log } = dialled(true);
  assert.deepEqual(table.lost(), []);
  assert.deepEqual(log.slice(0, 2), ['unexpect 0', 'opened']);
  assert.equal(log.at(-1), 'upstream-lost');
});

/** What follows the end of both halves, each of which native code passed on. */
const IN_ORDER = ['end', 'detach 0', 'close 5', 'finished'];

test('the end of what the application sends counts, also when it is told of before the answer is dealt with', () => {
  const { table, log } = dialled(true);
  table.sourceEnded(0);
  assert.deepEqual(log, []);
  table.confirmed(0, ANSWER);
  assert.deepEqual(log.splice(0), ['opened', `attach 0 ${FLOW}`]);
  table.eof(0);
  assert.deepEqual(log, IN_ORDER);
});

test('the end of what the application sends counts, also when it is told of after the far end’s', () => {
  const { table, log, totals } = dialled(true);
  table.confirmed(0, ANSWER);
  log.length = 0;
  totals[2] = 1;
  table.eof(0);
  table.closed(0);
  table.sourceEnded(0);
  assert.deepEqual(log, IN_ORDER);
});

test('a channel stays open until both halves have ended, and is closed by us then', () => {
  const { table, log } = dialled(true);
  table.confirmed(0, ANSWER);
  log.length = 0;
  table.eof(0);
  assert.deepEqual(log, ['end']);
  table.sourceEnded(0);
  assert.deepEqual(log, IN_ORDER);
});

test('a far end that closes before the application has ended its half has reset', () => {
  const { table, log } = dialled(true);
  table.confirmed(0, ANSWER);
  table.eof(0);
  table.closed(0);
  assert.equal(log.at(-1), 'reset-by-peer');
});

test('more than was invited closes the channel once its number is known', () => {
  const { table, log } = dialled(true);
  table.overrun(0);
  table.confirmed(0, ANSWER);
  assert.ok(log.includes('close 5'), log.join());
});

test('a dial that is given up joins nothing any more, and its channel is closed when it opens', () => {
  const { table, dial, log } = dialled(true);
  dial.cancel();
  assert.deepEqual(log.splice(0), ['unexpect 0']);
  table.confirmed(0, ANSWER);
  assert.deepEqual(log, ['close 5']);
});

test('a refused open is not waited for', () => {
  const { table, log } = dialled(false);
  table.refused(0, 2, 'Connection refused');
  assert.equal(log[0], 'unexpect 0');
  assert.equal(log.length, 2);
});
