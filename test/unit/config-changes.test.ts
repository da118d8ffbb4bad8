import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { changes } from '../../src/config/changes.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { FileWatch } from '../../src/config/watch.ts';
import { WATCH_QUIET_MS } from '../../src/core/limits.ts';
import { waitFor } from '../lab/namespaces.ts';

describe('what has changed', () => {
  const files = (more: Record<string, string>): Record<string, string> => ({
    '/c.yaml':
      'bastions: [{ name: a, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }]\nlocal: [10.0.0.0/8]\n',
    '/key': 'PRIVATE',
    '/hosts': 'h ssh-ed25519 AAAA\n',
    ...more,
  });
  const load = async (more: Record<string, string> = {}): Promise<Config> => {
    const readFile = (path: string): Buffer => {
      const text = files(more)[path];
      if (text === undefined) throw new Error(path);
      return Buffer.from(text);
    };
    const flags = new Map([['config', [{ text: '/c.yaml', where: '--config' }]]] as const);
    const { config } = await loadConfig({
      flags,
      environment: {},
      readFile: (path) => {
        // The certificate beside the key is looked for, and is not there.
        if (path.endsWith('-cert.pub')) return Buffer.alloc(0);
        return readFile(path);
      },
    });
    return config;
  };
  const with_ = (from: string, to: string): Record<string, string> => ({
    '/c.yaml': files({})['/c.yaml']!.replace(from, to),
  });

  for (const [what, more, expected] of [
    ['nothing', {}, []],
    ['a comment', with_('local:', '# new\nlocal:'), []],
    ['a key of the same name', { '/key': 'OTHER' }, ['bastions[0].identityFile']],
    ['known_hosts', { '/hosts': 'h ssh-ed25519 BBBB\n' }, ['bastions[0].knownHostsFile']],
    ['a host', with_('host: h', 'host: i'), ['bastions[0].host']],
    ['a list', with_('10.0.0.0/8', '10.0.0.0/9'), ['local']],
    ['a longer list', with_('10.0.0.0/8', '10.0.0.0/8, fd00::/8'), ['local']],
    ['a nested key', with_('local:', 'tun: { mtu: 1400 }\nlocal:'), ['tun.mtu']],
    [
      'a password',
      { ...with_('user: u', 'user: u, passwordFile: /p'), '/p': 'x' },
      ['bastions[0].passwordFile'],
    ],
  ] as const) {
    test(what, async () => {
      const found = changes(await load(), await load(more));
      assert.deepEqual([...new Set(found)].toSorted(), [...expected]);
      assert.doesNotMatch(found.join(), /PRIVATE|OTHER|AAAA|BBBB/);
    });
  }
});

describe('files that are watched', () => {
  let folder = '';
  let calls = 0;
  let watched: FileWatch;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'netproxy-watch-'));
    calls = 0;
    watched = new FileWatch(
      () => calls++,
      (error) => assert.fail(error),
    );
  });
  afterEach(() => {
    watched.close();
    rmSync(folder, { recursive: true });
  });
  const file = (name: string): string => join(folder, name);
  const settle = (): Promise<void> => sleep(2 * WATCH_QUIET_MS);
  /** Waits for a call after the first `before`; a busy machine may take its time. */
  const told = (before: number, what: string): Promise<boolean> =>
    waitFor(`a call for ${what}`, () => calls > before);

  test('written in place, renamed over, removed and made again: one call each', async () => {
    writeFileSync(file('key'), '1');
    watched.set([file('key'), file('not-there')]);
    const steps = [
      () => writeFileSync(file('key'), '22'),
      () => {
        writeFileSync(file('key.new'), '3');
        renameSync(file('key.new'), file('key'));
      },
      () => rmSync(file('key')),
      () => writeFileSync(file('key'), '4'),
      () => writeFileSync(file('not-there'), '5'),
    ];
    for (const [index, step] of steps.entries()) {
      step();
      await told(index, String(step));
      await settle();
      assert.equal(calls, index + 1, String(step));
    }
  });

  test('another file of the same directory is no event', async () => {
    writeFileSync(file('key'), '1');
    watched.set([file('key')]);
    writeFileSync(file('noise'), '1');
    await settle();
    assert.equal(calls, 0);
  });

  test("a volume of Kubernetes, whose link ..data is turned: told each time, the new directory's files too", async () => {
    const publish = (version: string): void => {
      mkdirSync(file(`..${version}`));
      writeFileSync(file(`..${version}/key`), version);
      symlinkSync(`..${version}`, file('..data_tmp'));
      renameSync(file('..data_tmp'), file('..data'));
    };
    publish('1');
    symlinkSync('..data/key', file('key'));
    watched.set([file('key')]);
    for (const version of ['2', '3']) {
      const before = calls;
      publish(version);
      await told(before, `version ${version}`);
      await settle();
      watched.set([file('key')]);
      await settle();
    }
    const before = calls;
    writeFileSync(file('..3/key'), 'in place');
    await told(before, 'in place');
    await settle();
    assert.equal(calls, before + 1);
  });

  test('an endless stream of events is not waited for', async () => {
    writeFileSync(file('key'), '1');
    watched.set([file('key')]);
    for (let i = 0; i < 60; i++) {
      writeFileSync(file('key'), String(i));
      await sleep(WATCH_QUIET_MS / 5);
    }
    assert.ok(calls >= 1, `${calls} calls within three seconds`);
  });

  test('links that go round in a circle end', () => {
    symlinkSync('b', file('a'));
    symlinkSync('a', file('b'));
    watched.set([file('a')]);
  });
});
