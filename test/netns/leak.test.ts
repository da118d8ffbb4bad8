/** What leaves eth0 while the application tries hard: counted by the kernel's own packet filter. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { release, takeOver } from '../../src/netns/takeover.ts';
import { LAB, countLeaks, createLab } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { INPUT, addTun, connectErrno, runnerIn } from './routes-lab.ts';

let lab: Lab;
before(async () => {
  lab = await createLab();
});
after(() => lab.cleanup());

const FAR = [LAB.target.v4, LAB.target.v6, LAB.unreachable.v4, LAB.networkless.v6];

async function connectEverywhere(): Promise<string[]> {
  const found: string[] = [];
  for (const address of FAR) found.push(await connectErrno(lab.app, address, 100));
  return found;
}

test('packets leave by eth0 before the takeover, so the count can be believed', async () => {
  const { count } = await countLeaks(lab.app, 'eth0', async () => {
    await connectEverywhere();
  });
  assert.ok(count >= FAR.length, `counted ${count}`);
});

test('none leaves once the namespace is taken over, nor when the TUN is gone', async () => {
  const runner = runnerIn(lab.app);
  await addTun(lab.app);
  await takeOver(INPUT, runner);
  const taken = await countLeaks(lab.app, 'eth0', async () => {
    assert.deepEqual(new Set(await connectEverywhere()), new Set(['timeout']));
    await lab.app.ip('link del tun0');
    assert.deepEqual(new Set(await connectEverywhere()), new Set(['ENETUNREACH']));
  });
  assert.equal(taken.count, 0, taken.lines.join('\n'));
});

test('none leaves when somebody adds a default behind ours', async () => {
  await lab.app.ip(`route add default via ${LAB.bastion.v4} metric 100`);
  await lab.app.ip(`route add default via ${LAB.bastion.v6} dev eth0 metric 1024`);
  const late = await countLeaks(lab.app, 'eth0', async () => {
    assert.deepEqual(new Set(await connectEverywhere()), new Set(['ENETUNREACH']));
  });
  assert.equal(late.count, 0, late.lines.join('\n'));
  await release(runnerIn(lab.app));
});
