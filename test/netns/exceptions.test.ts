/** Destinations that go another way than their network, by the packets that leave and do not. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { TakeOverInput } from '../../src/netns/desired.ts';
import { readFilter } from '../../src/netns/filter-facts.ts';
import { release, takeOver } from '../../src/netns/takeover.ts';
import { LAB, countLeaks, createLab, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { INPUT, addTun, runnerIn } from './routes-lab.ts';

/** On the application's link; by 5432 it belongs into the tunnel. */
const NEAR = [LAB.bastion.v4, LAB.bastion.v6];
/** Beyond the link; by 8000 it is reached directly. */
const FAR = [LAB.bastion.far4, LAB.bastion.far6];
const INTO: TakeOverInput = {
  ...INPUT,
  local: [`${LAB.bastion.far4}/32:8000`, `[${LAB.bastion.far6}/128]:8000/tcp`],
  captured: NEAR.map((address) => ({
    cidr: `${address}/${address.includes(':') ? 128 : 32}`,
    ports: [5432, 5433],
    protocol: 'tcp',
  })),
};

let lab: Lab;
before(async () => {
  lab = await createLab();
  const script = [5432, 8000].map((port) => `require('net').createServer().listen(${port}, '::');`).join('');
  lab.bastion.spawn([process.execPath, '-e', script], { stdio: 'ignore' });
  for (const port of [5432, 8000]) await waitForPort(lab.bastion, port);
});
after(() => lab.cleanup());

/** Milliseconds after which no answer is to be expected, where none is. */
const SILENCE_MS = 400;

/** The errno of a connect, "timeout" after `ms`, or "open". */
async function attempt(address: string, port: number, ms = 10_000): Promise<string> {
  const script = `
    const socket = require('node:net').connect({ host: '${address}', port: ${port} });
    const done = (word) => { console.log(word); process.exit(); };
    socket.on('error', (error) => done(error.code)).on('connect', () => done('open'));
    setTimeout(() => done('timeout'), ${ms});`;
  const { stdout } = await lab.app.run([process.execPath, '-e', script]);
  return stdout.trim();
}

const refused = async (): Promise<number> => {
  const facts = await readFilter(runnerIn(lab.app));
  return facts.state === 'present' ? facts.memory.refused.packets : 0;
};

for (const layers of [['routes', 'nftables'], ['routes']] as const) {
  describe(`by ${layers.join(' and ')}`, () => {
    before(async () => {
      await addTun(lab.app);
      await takeOver({ ...INTO, layers }, runnerIn(lab.app));
    });
    after(async () => {
      await release(runnerIn(lab.app));
      await lab.app.ip('link del tun0').catch(() => {});
    });

    test('a port of a neighbour goes into the tunnel, and its other ports do not', async () => {
      const { count, lines } = await countLeaks(
        lab.app,
        'eth0',
        async () => {
          // Nobody reads this TUN.
          for (const address of NEAR) assert.equal(await attempt(address, 5432, SILENCE_MS), 'timeout');
        },
        'tcp port 5432',
      );
      assert.equal(count, 0, lines.join('\n'));
      for (const address of NEAR) assert.equal(await attempt(address, 8000), 'open');
      for (const address of NEAR) assert.equal(await attempt(address, 5434), 'ECONNREFUSED');
    });

    test('a port beyond the link goes directly, and its other ports do not', async () => {
      for (const address of FAR) {
        assert.equal(await attempt(address, 8000), 'open');
        assert.equal(await attempt(address, 5432, SILENCE_MS), 'timeout');
      }
    });

    test('what is captured fails at once when the TUN is gone', async () => {
      await lab.app.ip('link del tun0');
      for (const address of NEAR) {
        assert.equal(await attempt(address, 5432), 'ENETUNREACH');
        assert.equal(await attempt(address, 8000), 'open');
      }
    });
  });
}

describe('by nftables alone', () => {
  before(async () => {
    await addTun(lab.app);
    await takeOver({ ...INTO, layers: ['nftables'] }, runnerIn(lab.app));
  });
  after(async () => {
    await release(runnerIn(lab.app));
    await lab.app.ip('link del tun0');
  });

  test('what is captured is refused and counted, and what is direct passes', async () => {
    const earlier = await refused();
    for (const address of NEAR) {
      // An ICMP error that meets connect(2) itself is heeded only at the second SYN, a second later.
      assert.match(await attempt(address, 5432, SILENCE_MS), /^(timeout|ENETUNREACH)$/);
      assert.equal(await attempt(address, 8000), 'open');
    }
    assert.ok((await refused()) >= earlier + NEAR.length);
    for (const address of FAR) assert.equal(await attempt(address, 8000), 'open');
  });
});
