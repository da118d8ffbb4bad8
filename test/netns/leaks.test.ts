/** The table of docs/security.md, run anew, and what makes its zeros worth something. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { LAB, waitFor } from '../lab/namespaces.ts';
import { FAULTS } from './leak-faults.ts';
import { LeakLab } from './leak-lab.ts';
import { COLUMNS, START, documented, runColumn } from './leak-matrix.ts';
import type { Cell } from './leak-matrix.ts';

const table = documented();

test('the table has a row for each fault', () => {
  assert.deepEqual([...table.keys()], [START, ...Object.keys(FAULTS)]);
});

for (const [index, [name, layers]] of Object.entries(COLUMNS).entries()) {
  test(`nothing leaks with ${name}`, { timeout: 400_000 }, async () => {
    const cells: Cell[] = [];
    await runColumn(layers, (cell) => cells.push(cell));
    for (const { fault, text, leaks, asks, counted } of cells) {
      assert.equal(text, table.get(fault)?.[index], `${fault}\n${leaks.join('\n')}`);
      assert.deepEqual(asks, [], fault);
      // The filter's own count says the same.
      if (layers.includes('nftables') && text === '0') assert.equal(counted, 0, fault);
    }
    assert.deepEqual(
      cells.map(({ fault }) => fault),
      [...table.keys()],
    );
    // What may leave did, so the capture was not deaf.
    assert.ok(cells.some(({ toBastion }) => toBastion > 0));
    assert.equal(
      cells.some(({ replies }) => replies > 0),
      layers.includes('nftables'),
    );
  });
}

describe('a leak that is planted', () => {
  const FAR = '203.0.113.7';
  let lab: LeakLab;
  before(async () => {
    lab = await LeakLab.create(['routes', 'nftables']);
    lab.start();
    await lab.running();
    await lab.oracle.look();
  });
  after(() => lab.close());

  const send = (count: number): Promise<unknown> =>
    lab.world.lab.app.run([
      'python3',
      '-c',
      `import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nfor i in range(${count}): s.sendto(b'x', ('${FAR}', 9))`,
    ]);

  test('is no leak for either while the filter stands', async () => {
    // Stopped, so that the keeper does not mend what is broken here.
    lab.netproxy?.child.kill('SIGSTOP');
    await lab.world.lab.app.ip(`route add ${FAR} via ${LAB.bastion.v4}`);
    await send(3).catch(() => {});
    assert.deepEqual((await lab.oracle.look()).leaks, []);
    assert.equal(await lab.leaked(), 0);
  });

  test('is seen by the capture and counted by the filter, packet by packet', async () => {
    await lab.world.lab.app.run([
      'nft',
      'insert',
      'rule',
      'inet',
      'netproxy',
      'egress',
      'ip',
      'daddr',
      FAR,
      'accept',
    ]);
    await send(7);
    const { leaks } = await lab.oracle.look();
    assert.equal(leaks.length, 7, leaks.join('\n'));
    assert.match(leaks[0] ?? '', /^udp 192\.0\.2\.10:\d+ > 203\.0\.113\.7:9$/);
    assert.equal(await lab.leaked(), 7);
  });

  test('is told by a running netproxy, which has mended the hole and kept the count', async () => {
    await lab.world.lab.app.ip(`route del ${FAR}`);
    lab.netproxy?.child.kill('SIGCONT');
    await lab.running();
    await send(2).catch(() => {});
    assert.deepEqual((await lab.oracle.look()).leaks, []);
    lab.netproxy?.child.kill('SIGUSR2');
    await waitFor('the count in the log', () => /"leaked":7\b/.test(lab.netproxy?.stderr ?? ''));
    assert.match(lab.netproxy?.stderr ?? '', /"refused":\d+/);
  });
});

describe('what the application may', () => {
  let lab: LeakLab;
  before(async () => {
    lab = await LeakLab.create(['routes', 'nftables']);
    await lab.app('serve');
    lab.start();
    await lab.running();
  });
  after(() => lab.close());

  test('answer what comes in from beyond the link', async () => {
    assert.equal(await lab.ask('tcp'), 'HELLO');
    assert.equal(await lab.ask('udp'), 'HELLO');
    const { leaks, replies } = await lab.oracle.look();
    assert.deepEqual(leaks, []);
    assert.ok(replies > 0);
  });
});
