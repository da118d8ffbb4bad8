/** Which containers are attached, by an engine in memory; with a clock of the test's for what is tried again. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { GONE, Watcher } from '../../src/containers/watcher.ts';
import { NetproxyError, ProblemsError } from '../../src/core/errors.ts';
import type { Problem } from '../../src/core/errors.ts';
import {
  ATTACH_AT_ONCE,
  ATTACH_RETRY_FIRST_MS,
  ATTACH_TURN_MS,
  ATTACHED_MAX,
  ENGINE_RETRY_LAST_MS,
} from '../../src/core/limits.ts';
import { id, MemoryEngine } from './container-engine.ts';

const LABEL = 'netproxy.enable=true';
const labels = { 'netproxy.enable': 'true' };
const web = { id: id('a'), name: 'web', labels, startedAt: '2026-01-01T00:00:01Z' };
const api = { id: id('b'), name: 'api', labels, startedAt: '2026-01-01T00:00:01Z' };

/** Turns of the event loop, for promises to settle. */
async function settle(): Promise<void> {
  for (let count = 0; count < 20; count++) await turn();
}

class Bench {
  readonly engine: MemoryEngine;
  readonly stop = new AbortController();
  /** `begin NAME`, `end NAME REASON`, and lines of the log from warnings on. */
  readonly told: string[] = [];
  /** What carrying the container fails with, at once. */
  readonly failures = new Map<string, Error>();
  /** Those that never become ready. */
  readonly hanging = new Set<string>();
  begun: number | undefined;
  readonly over: Promise<void>;
  error: unknown;

  constructor(made: readonly object[], chosen: { label: string } | { container: string } = { label: LABEL }) {
    this.engine = new MemoryEngine(made as (typeof web)[]);
    const note = (_fields: object, message: string): void => void this.told.push(message);
    const watcher = new Watcher({
      ...{ engine: this.engine, chosen },
      log: { debug: () => {}, info: () => {}, warn: note, error: note },
      isLasting: (error) => error instanceof NetproxyError && error.code === 'CONFIG_INVALID',
      carry: async ({ name }, signal, ready) => {
        this.told.push(`begin ${name}`);
        const failure = this.failures.get(name);
        if (failure !== undefined) throw failure;
        if (!this.hanging.has(name)) ready();
        await new Promise<void>((resolve) => {
          if (signal.aborted) resolve();
          signal.addEventListener('abort', () => resolve());
        });
        this.told.push(`end ${name} ${String(signal.reason)}`);
      },
    });
    this.over = watcher
      .run(this.stop.signal, (count) => (this.begun = count))
      .catch((error) => (this.error = error));
  }

  /** What was told since the last time. */
  async news(): Promise<string[]> {
    await settle();
    return this.told.splice(0);
  }

  async event(container: string, action = 'start'): Promise<void> {
    for (const stream of this.engine.streams) stream.push({ action, id: container, name: '' });
    await settle();
  }

  async end(): Promise<void> {
    this.stop.abort('SIGTERM');
    await this.over;
  }
}

describe('containers with a label', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
  afterEach(() => mock.timers.reset());

  test('are attached when they run, and put back at the end', async () => {
    const bench = new Bench([
      web,
      api,
      { id: id('c'), name: 'other' },
      { ...api, id: id('d'), running: false },
    ]);
    assert.deepEqual(await bench.news(), ['begin web', 'begin api']);
    assert.equal(bench.begun, 2);
    await bench.end();
    assert.deepEqual(await bench.news(), ['end web SIGTERM', 'end api SIGTERM']);
    assert.equal(bench.error, undefined);
  });

  test('are followed as they start, stop and are removed', async () => {
    const bench = new Bench([]);
    await bench.news();
    bench.engine.put(web);
    await bench.event(web.id);
    assert.deepEqual(await bench.news(), ['begin web']);
    bench.engine.put({ ...web, ...{ running: false } });
    await bench.event(web.id, 'die');
    assert.deepEqual(await bench.news(), [`end web ${GONE}`]);
    bench.engine.put(web);
    await bench.event(web.id);
    bench.engine.all.delete(web.id);
    await bench.event(web.id, 'destroy');
    assert.deepEqual(await bench.news(), ['begin web', `end web ${GONE}`]);
    await bench.end();
  });

  test('are attached anew when they were restarted, even when only the last event came', async () => {
    const bench = new Bench([web]);
    await bench.news();
    bench.engine.put({ ...web, startedAt: '2026-01-01T00:00:02Z' });
    await bench.event(web.id);
    assert.deepEqual(await bench.news(), [`end web ${GONE}`, 'begin web']);
    await bench.event(web.id);
    await bench.event(web.id);
    assert.deepEqual(await bench.news(), []);
    await bench.end();
  });

  test('stay attached while the engine is away, and what happened meanwhile is made good', async () => {
    const bench = new Bench([web, api]);
    await bench.news();
    bench.engine.away = true;
    for (const stream of bench.engine.streams) stream.end(new Error('gone'));
    assert.deepEqual(await bench.news(), ['the container engine is away, and is tried again']);
    mock.timers.tick(ENGINE_RETRY_LAST_MS);
    assert.deepEqual(await bench.news(), ['the container engine is away, and is tried again']);
    bench.engine.away = false;
    bench.engine.all.delete(web.id);
    bench.engine.put({ ...api, startedAt: '2026-01-01T00:00:09Z' });
    mock.timers.tick(ENGINE_RETRY_LAST_MS);
    assert.deepEqual((await bench.news()).toSorted(), ['begin api', `end api ${GONE}`, `end web ${GONE}`]);
    await bench.end();
  });

  test('fail alone, and are tried again unless that cannot help', async () => {
    const bench = new Bench([web, api]);
    bench.failures.set('web', new NetproxyError('SSH_AUTH_REFUSED', 'no'));
    bench.failures.set('api', new NetproxyError('CONFIG_INVALID', 'bad label'));
    assert.deepEqual(await bench.news(), [
      'begin web',
      'begin api',
      'web: no; tried again',
      'api: bad label; not tried again before the container is started anew',
    ]);
    bench.failures.clear();
    mock.timers.tick(ATTACH_RETRY_FIRST_MS);
    assert.deepEqual(await bench.news(), ['begin web']);
    bench.engine.put({ ...api, startedAt: '2026-01-01T00:00:09Z' });
    await bench.event(api.id);
    assert.deepEqual(await bench.news(), ['begin api']);
    await bench.end();
  });

  test('that have several things wrong are told each of them', async () => {
    const bench = new Bench([web]);
    const problem = (where: string): Problem => ({ code: 'CONFIG_INVALID', where, message: 'bad' });
    bench.failures.set('web', new ProblemsError([problem('label a'), problem('label b')]));
    assert.deepEqual(await bench.news(), [
      'begin web',
      'web: label a: bad',
      'web: label b: bad',
      'web: 2 problems found; not tried again before the container is started anew',
    ]);
    await bench.end();
  });

  test('are begun a few at once, and those that hang give way', async () => {
    const many = Array.from({ length: ATTACH_AT_ONCE + 2 }, (_, index) => ({
      ...web,
      id: id(String(index)),
      name: `w${index}`,
    }));
    const bench = new Bench(many);
    for (const { name } of many.slice(0, ATTACH_AT_ONCE)) bench.hanging.add(name);
    assert.equal((await bench.news()).length, ATTACH_AT_ONCE);
    mock.timers.tick(ATTACH_TURN_MS);
    assert.deepEqual(await bench.news(), [`begin w${ATTACH_AT_ONCE}`, `begin w${ATTACH_AT_ONCE + 1}`]);
    await bench.end();
    assert.equal((await bench.news()).length, many.length);
  });

  test('are no more than so many, and the rest is told once', async () => {
    const many = Array.from({ length: ATTACHED_MAX + 1 }, (_, index) => ({
      ...web,
      id: `${index}`.padStart(64, '0'),
      name: `w${index}`,
    }));
    const bench = new Bench(many);
    await bench.event(many.at(-1)!.id);
    const told = await bench.news();
    assert.equal(told.filter((line) => line.startsWith('begin')).length, ATTACHED_MAX);
    assert.deepEqual(told.filter((line) => /not attached/.test(line)).length, 1);
    await bench.end();
  });

  test('cannot be had without an engine at the start', async () => {
    const bench = new Bench([]);
    bench.engine.away = true;
    await bench.over;
    assert.equal((bench.error as NetproxyError).code, 'DOCKER_UNREACHABLE');
  });
});

describe('one container', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
  afterEach(() => mock.timers.reset());

  test('is followed through its restarts, until it is removed', async () => {
    const bench = new Bench([web, api], { container: web.id });
    assert.deepEqual(await bench.news(), ['begin web']);
    bench.engine.put({ ...web, startedAt: '2026-01-01T00:00:02Z' });
    await bench.event(web.id);
    assert.deepEqual(await bench.news(), [`end web ${GONE}`, 'begin web']);
    bench.engine.all.delete(web.id);
    await bench.event(web.id, 'destroy');
    await bench.over;
    assert.equal((bench.error as NetproxyError).code, 'CONTAINER_UNKNOWN');
  });

  test('that fails at once ends all, and later only itself', async () => {
    const bench = new Bench([web], { container: web.id });
    bench.failures.set('web', new NetproxyError('TUN_BUSY', 'busy'));
    await bench.over;
    assert.equal((bench.error as NetproxyError).code, 'TUN_BUSY');
    const later = new Bench([web], { container: web.id });
    await later.news();
    later.failures.set('web', new NetproxyError('TUN_BUSY', 'busy'));
    later.engine.put({ ...web, startedAt: '2026-01-01T00:00:02Z' });
    await later.event(web.id);
    assert.deepEqual(await later.news(), [`end web ${GONE}`, 'begin web', 'web: busy; tried again']);
    assert.equal(later.error, undefined);
    await later.end();
  });
});
