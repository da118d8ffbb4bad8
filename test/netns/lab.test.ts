import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LAB, capture, countLeaks, createLab, waitFor, waitForPort } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';

const LISTENER = `
  const net = require('node:net');
  net.createServer((socket) => socket.end('hello')).listen(80, '::');
`;
const connect = (address: string): string[] => [
  process.execPath,
  '-e',
  `require('node:net').connect({ host: '${address}', port: 80 }).on('data', (d) => console.log(String(d))).on('error', (e) => console.log(e.code)).setTimeout(4000, function () { console.log('timeout'); this.destroy(); })`,
];

let lab: Lab;
before(async () => {
  lab = await createLab({ other: true });
  lab.target.spawn([process.execPath, '-e', LISTENER], { stdio: 'ignore' });
  lab.other.spawn([process.execPath, '-e', LISTENER], { stdio: 'ignore' });
  await Promise.all([waitForPort(lab.target, 80), waitForPort(lab.other, 80)]);
});
after(() => lab.cleanup());

for (const family of ['v4', 'v6'] as const) {
  test(`the bastion reaches the target, the app does not (${family})`, async () => {
    assert.equal((await lab.bastion.run(connect(LAB.target[family]))).stdout, 'hello\n');
    assert.equal((await lab.app.run(connect(LAB.target[family]))).stdout, 'timeout\n');
  });

  test(`the app reaches its neighbour on the LAN (${family})`, async () => {
    assert.equal((await lab.app.run(connect(LAB.other[family]))).stdout, 'hello\n');
  });

  const errors = {
    unreachable: 'EHOSTUNREACH',
    prohibited: 'EACCES',
    blackhole: 'EINVAL',
    silent: 'timeout',
    networkless: 'ENETUNREACH',
  } as const;
  for (const [place, errno] of Object.entries(errors)) {
    test(`a connect from the bastion to "${place}" ends in ${errno} (${family})`, async () => {
      assert.equal(
        (await lab.bastion.run(connect(LAB[place as keyof typeof errors][family]))).stdout,
        `${errno}\n`,
      );
    });
  }
}

test('a capture counts what leaves, and only that', async () => {
  const quiet = await countLeaks(lab.app, 'eth0', () => Promise.resolve());
  assert.equal(quiet.count, 0, quiet.lines.join('\n'));
  const running = await capture(lab.app, 'eth0', 'tcp port 80');
  await lab.app.run(connect(LAB.other.v4));
  await waitFor('the handshake', () => running.lines.filter((line) => line !== '').length >= 3);
  assert.ok((await running.stop()) >= 3);
});
