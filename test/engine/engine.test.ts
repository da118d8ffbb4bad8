/** The engines themselves, as the other tests of this group need them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { engineBuilds, IMAGES, startEngine } from '../lab/engine.ts';
import type { Engine } from '../lab/engine.ts';
import { createLab } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';

for (const build of engineBuilds()) {
  describe(`the ${build.name} engine`, () => {
    let lab: Lab;
    let engine: Engine;
    before(async () => {
      lab = await createLab();
      engine = await startEngine(lab.app, { build });
    });
    after(async () => {
      await engine?.stop();
      await lab?.cleanup();
    });

    test('runs containers of each image on a network of its own', async (t) => {
      const { stdout } = await engine.docker(['version', '--format', '{{.Server.Version}}']);
      t.diagnostic(`${build.name}: ${stdout.trim()}`);
      const told = await engine.docker(['run', '--rm', IMAGES.node, 'node', '-p', '6 * 7']);
      assert.equal(told.stdout.trim(), '42');
      assert.match((await engine.docker(['run', '--rm', IMAGES.netproxy, '--version'])).stdout, /\d/);
      assert.match((await engine.docker(['run', '--rm', IMAGES.relay, '-V'])).stdout, /socat version/);
      await engine.docker(['run', '--detach', '--name', 'anchor', IMAGES.anchor]);
      assert.equal(await engine.inspect('anchor', '.State.Running'), true);
      // The machine's devices are those of the namespace, and docker0 is one of them.
      const links = await lab.app.ipJson<{ ifname: string }[]>('link');
      assert.ok(links.some(({ ifname }) => ifname === 'docker0'));
    });

    test('is the same after a restart, with the containers of before', async () => {
      const before = await engine.inspect('anchor', '.Id');
      const { pid } = engine;
      await engine.restart();
      assert.notEqual(engine.pid, pid);
      assert.equal(await engine.inspect('anchor', '.Id'), before);
      assert.equal(await engine.inspect('anchor', '.State.ExitCode'), 0);
    });

    test('is empty once it is cleared, and a second one runs beside it', async () => {
      await engine.clear();
      assert.equal((await engine.docker(['ps', '--all', '--quiet'])).stdout, '');
      const other = await createLab();
      const second = await startEngine(other.app, { build });
      try {
        await second.docker(['create', '--name', 'only-there', IMAGES.anchor]);
        assert.equal((await engine.docker(['ps', '--all', '--quiet'])).stdout, '');
      } finally {
        await second.stop();
        await other.cleanup();
      }
    });
  });
}
