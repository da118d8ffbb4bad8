import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reattach } from '../../src/containers/reattach.ts';
import type { Repair } from '../../src/containers/reattach.ts';
import { id, MemoryEngine } from './container-engine.ts';

const OLD = '2026-01-01T00:00:00Z';
const NEW = '2026-01-02T00:00:00Z';

const provider = { id: id('a'), name: 'netproxy', startedAt: NEW };
const orphan = { id: id('b'), name: 'app', networkMode: `container:${id('a')}`, startedAt: OLD };
/** Its provider is gone. */
const lost = { ...orphan, networkMode: `container:${id('e')}` };

function mend(
  engine: MemoryEngine,
  options: { dryRun?: boolean; provider?: string } = {},
): Promise<readonly Repair[]> {
  const { dryRun = false, provider: chosen } = options;
  return reattach({ engine, namespaceOf: () => undefined, dryRun, provider: chosen });
}

function withLost(made: object = {}): MemoryEngine {
  const engine = new MemoryEngine([provider, { ...lost, ...made }]);
  engine.formerNames.set(id('e'), 'netproxy');
  return engine;
}

describe('reattach', () => {
  test('does nothing where all is well', async () => {
    const engine = new MemoryEngine([
      { ...provider, startedAt: OLD },
      { ...orphan, startedAt: NEW },
    ]);
    assert.deepEqual(await mend(engine), []);
    assert.deepEqual(engine.calls, []);
  });

  test('restarts what was orphaned', async () => {
    const engine = new MemoryEngine([provider, orphan]);
    const [repair, ...more] = await mend(engine);
    assert.deepEqual(
      [repair?.kind, repair?.done, repair?.provider?.name, more.length],
      ['restart', true, 'netproxy', 0],
    );
    assert.deepEqual(engine.calls, ['restart app']);
  });

  test('makes anew what lost its provider, beside the old one, which goes last', async () => {
    const engine = withLost();
    const [repair] = await mend(engine);
    assert.deepEqual([repair?.kind, repair?.done], ['recreate', true]);
    const mark = 'b'.repeat(12);
    assert.deepEqual(engine.calls, [
      `create app.new-${mark}`,
      'stop app',
      `rename app app.old-${mark}`,
      `rename app.new-${mark} app`,
      'start app',
      `remove app.old-${mark}`,
    ]);
    assert.equal(engine.named('app')?.networkMode, `container:${id('a')}`);
    assert.equal(engine.all.size, 2);
  });

  test('says what it would do, and does nothing', async () => {
    for (const engine of [withLost(), new MemoryEngine([provider, orphan])]) {
      const [repair] = await mend(engine, { dryRun: true });
      assert.equal(repair?.done, false);
      assert.notEqual(repair?.kind, 'none');
      assert.deepEqual(engine.calls, []);
    }
  });

  // One for each call before the old container is removed.
  for (const failAt of [0, 1, 2, 3, 4]) {
    test(`leaves all as it was when call ${failAt} fails`, async () => {
      const engine = withLost();
      engine.failAt = failAt;
      const [repair] = await mend(engine);
      assert.equal(repair?.done, false);
      assert.match(repair?.error ?? '', /failed$/);
      assert.equal(engine.named('app')?.id, id('b'));
      assert.equal(engine.named('app')?.running, true);
      assert.equal(engine.named('app')?.networkMode, lost.networkMode);
      assert.deepEqual([...engine.all.keys()].toSorted(), [id('a'), id('b')]);
    });
  }

  test('tells what could not be put back', async () => {
    const engine = withLost();
    engine.failing = /^start/;
    const [repair] = await mend(engine);
    assert.match(repair?.error ?? '', /start app failed; putting it back failed, too: start app failed/);
    assert.match(repair?.fix ?? '', /docker ps -a/);
    assert.equal(engine.named('app')?.id, id('b'));
  });

  test('tells of an old container that cannot be removed, and keeps the new one', async () => {
    const engine = withLost();
    engine.failing = /^remove/;
    const [repair] = await mend(engine);
    assert.match(repair?.fix ?? '', /docker rm app\.old-/);
    assert.equal(engine.named('app')?.running, true);
    assert.notEqual(engine.named('app')?.id, id('b'));
  });

  test('uses the very image that the old one has', async () => {
    const same = withLost();
    await mend(same);
    assert.equal(same.named('app')?.image, 'app:1');
    const moved = withLost();
    moved.images.set('app:1', 'sha256:two');
    await mend(moved);
    assert.equal(moved.named('app')?.image, 'sha256:one');
  });

  test('does not start what did not run, but was meant to only when the engine could not', async () => {
    const stopped = withLost({ running: false });
    assert.deepEqual(await mend(stopped), []);
    const failed = withLost({ running: false, error: 'No such container' });
    const [repair] = await mend(failed);
    assert.equal(repair?.done, true);
    assert.ok(!failed.calls.includes('stop app'));
    assert.equal(failed.named('app')?.running, true);
  });

  test('asks for the provider where it cannot be told, and takes the one that is named', async () => {
    const engine = withLost();
    engine.formerNames.clear();
    const [repair] = await mend(engine);
    assert.deepEqual([repair?.kind, repair?.done], ['none', false]);
    assert.match(repair?.fix ?? '', /netproxy reattach NAME/);
    assert.deepEqual(engine.calls, []);
    await assert.rejects(mend(engine, { provider: 'nobody' }), { code: 'CONTAINER_UNKNOWN' });
    const [now] = await mend(engine, { provider: 'netproxy' });
    assert.deepEqual([now?.kind, now?.done], ['recreate', true]);
  });

  test('leaves what would be removed by its stop, and what waits for its provider', async () => {
    const engine = withLost({ hostConfig: { AutoRemove: true, NetworkMode: lost.networkMode } });
    const [repair] = await mend(engine);
    assert.match(repair?.why ?? '', /--rm/);
    const stopped = new MemoryEngine([{ ...provider, running: false }, orphan]);
    const [waits] = await mend(stopped);
    assert.match(waits?.fix ?? '', /docker start netproxy/);
    assert.deepEqual([...engine.calls, ...stopped.calls], []);
  });

  test('goes on to what shares the network of those that it repaired', async () => {
    const behind = { id: id('c'), name: 'behind', networkMode: `container:${id('b')}`, startedAt: OLD };
    const restarted = new MemoryEngine([provider, orphan, behind]);
    assert.deepEqual(
      (await mend(restarted)).map(({ container }) => container.name),
      ['app', 'behind'],
    );
    assert.deepEqual(restarted.calls, ['restart app', 'restart behind']);
    const engine = withLost();
    engine.put(behind);
    const repairs = await mend(engine);
    assert.deepEqual(
      repairs.map(({ container, kind, done }) => [container.name, kind, done]),
      [
        ['app', 'recreate', true],
        ['behind', 'recreate', true],
      ],
    );
    assert.equal(engine.named('behind')?.networkMode, `container:${engine.named('app')?.id}`);
  });
});
