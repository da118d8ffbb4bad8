/** Control sockets: whose netproxy listens, and which were left by one that was killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { attachedOf } from '../../src/containers/survey.ts';
import { isListenedAt, listenerAt } from '../../src/control/listener.ts';
import { CONTROL_SOCKET_LEFT_MS } from '../../src/core/limits.ts';
import { container } from './container-engine.ts';

const folder = mkdtempSync(join(tmpdir(), 'netproxy-listener-'));
after(() => rmSync(folder, { recursive: true }));

/** Has a process listen there, and gives the function that kills it. */
async function listen(path: string): Promise<() => Promise<void>> {
  const script = `require('net').createServer().listen(process.argv[1], () => console.log('listens'))`;
  const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return async () => {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
}

test('a socket that its process left is nobody, and is removed once it cannot be a new one', async () => {
  const path = join(folder, '1.sock');
  assert.equal(await isListenedAt(path), false);
  const kill = await listen(path);
  assert.equal(await listenerAt(path), 'there');
  const later = Date.now() + CONTROL_SOCKET_LEFT_MS + 1000;
  assert.equal(await isListenedAt(path, later), true);
  await kill();
  assert.equal(await listenerAt(path), 'gone');
  assert.equal(await isListenedAt(path), false);
  assert.ok(existsSync(path), 'it may be about to be listened at');
  assert.equal(await isListenedAt(path, later), false);
  assert.ok(!existsSync(path));
});

test('what is no socket, or may not be asked, is left alone', async () => {
  const path = join(folder, 'file');
  writeFileSync(path, 'text');
  assert.equal(await isListenedAt(path, Date.now() + CONTROL_SOCKET_LEFT_MS + 1000), false);
  assert.ok(existsSync(path));
  assert.equal(await listenerAt(join(path, 'below')), 'unknown');
});

test('a container is attached by its label, or by who listens for its namespace', async () => {
  const list = [
    container({ id: 'labelled', name: 'labelled', labels: { 'netproxy.enable': 'true' } }),
    container({ id: 'carried', name: 'carried' }),
    container({ id: 'other', name: 'other' }),
    container({ id: 'unseen', name: 'unseen' }),
  ];
  const numbers = new Map([
    ['labelled', '1'],
    ['carried', '2'],
    ['other', '3'],
  ]);
  const attached = await attachedOf(
    list,
    'netproxy.enable',
    ({ id }) => numbers.get(id),
    async (number) => number === '2',
  );
  assert.deepEqual([...attached], ['labelled', 'carried']);
});
