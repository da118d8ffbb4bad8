/** `netproxy attach CONTAINER` on real engines: what works, for how long, and what is left of it. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { engineBuilds, IMAGES } from '../lab/engine.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import type { Netproxy } from '../netns/world.ts';
import { AttachLab } from './attach-lab.ts';
import { netproxy } from './netproxy.ts';
import { SocketProxy } from './socket-proxy.ts';

for (const build of engineBuilds()) {
  describe(`a container of the ${build.name} engine`, () => {
    let lab: AttachLab;
    let attached: Netproxy | undefined;
    before(async () => {
      lab = await AttachLab.create(build);
      await lab.container('peer');
    });
    beforeEach(async () => {
      await lab.container('web', '--publish', '8080:80');
    });
    afterEach(async () => {
      await attached?.stop('SIGKILL');
      attached = undefined;
      await lab.engine.docker(['rm', '--force', 'web']);
    });
    after(() => lab?.close());

    test('reaches the target by the bastion while it is attached, and has its own way out back afterwards', async () => {
      const untouched = await lab.network('web');
      await lab.reachesNothing('web');
      attached = lab.attach(['web']);
      await lab.carries(attached, 'web');
      assert.equal(await lab.target('web'), 'hello');
      // As before for the container: names of others, its published port, and who has nothing to do with it.
      assert.equal(await lab.served('web', 'peer'), 'peer');
      assert.equal(await lab.served('peer', 'web'), 'web');
      const { stdout } = await lab.world.lab.bastion.run(['curl', '-sS', `http://${LAB.app.v4}:8080/`]);
      assert.equal(stdout, 'web');
      await lab.reachesNothing('peer');
      const told = await netproxy(lab.engine, ['status', '--docker']);
      assert.match(told.stdout, /^web +attached +- +its own +- +ready$/m);

      assert.equal(await attached.stop('SIGINT'), 130);
      assert.equal(await lab.network('web'), untouched);
      await lab.reachesNothing('web');
    });

    test('stays closed after a crash, and is whole again after the next start and stop', async () => {
      const untouched = await lab.network('web');
      attached = lab.attach(['web']);
      await lab.carries(attached, 'web');
      await attached.stop('SIGKILL');
      // The helper ends with netproxy, and with it the TUN.
      await waitFor('the TUN to be gone', async () => !/tun0/.test(await lab.network('web')));
      assert.equal(await lab.target('web'), 'ENETUNREACH');
      // Questions to resolvers stay closed, too.
      const address = await lab.engine.inspect<string>('peer', '.NetworkSettings.Networks.shared.IPAddress');
      assert.equal(await lab.served('web', address), 'peer');
      attached = lab.attach(['web']);
      await lab.carries(attached, 'web');
      assert.equal(await lab.target('web'), 'hello');
      assert.equal(await attached.stop(), 0);
      assert.equal(await lab.network('web'), untouched);
    });

    test('is carried again after a restart, and ends the command when it is removed', async () => {
      attached = lab.attach(['web']);
      await lab.carries(attached, 'web');
      await lab.engine.docker(['restart', 'web']);
      await lab.carries(attached, 'web');
      assert.equal(await lab.target('web'), 'hello');
      await lab.engine.docker(['rm', '--force', 'web']);
      await waitFor('the end of netproxy', () => attached?.child.exitCode !== null);
      await attached.closed();
      assert.equal(attached.child.exitCode, 64);
      assert.match(attached.stderr, /CONTAINER_UNKNOWN/);
    });
  });
}

describe('attach', () => {
  let lab: AttachLab;
  before(async () => {
    lab = await AttachLab.create();
    await lab.container('web');
  });
  after(() => lab?.close());

  test('is content with a proxy that lets nothing but GET through', async () => {
    const proxy = await SocketProxy.start(lab.engine, { allows: /^GET \/(version|containers|events)\b/ });
    try {
      const attached = lab.attach(['web'], proxy.environment);
      await lab.carries(attached, 'web');
      assert.equal(await lab.target('web'), 'hello');
      assert.equal(await attached.stop(), 0);
      assert.deepEqual(
        proxy.seen.filter((call) => !call.startsWith('GET ')),
        [],
      );
    } finally {
      await proxy.close();
    }
  });

  test('works in a container that sees the processes of the machine', async () => {
    const { user, address, port, clientKeyFile, knownHostsFile } = lab.world.sshd;
    const rights = ['NET_ADMIN', 'SYS_ADMIN', 'SYS_PTRACE'].flatMap((name) => ['--cap-add', name]);
    await lab.engine.docker([
      ...[
        'run',
        '--detach',
        '--name',
        'attacher',
        '--pid',
        'host',
        '--network',
        'host',
        '--read-only',
        ...rights,
      ],
      ...['--device', '/dev/net/tun', '--volume', `${lab.engine.socket}:/var/run/docker.sock`],
      ...['--volume', `${clientKeyFile}:/key:ro`, '--volume', `${knownHostsFile}:/known_hosts:ro`],
      ...[IMAGES.netproxy, 'attach', 'web', '--bastion', `ssh://${user}@${address}:${port}`],
      ...['--identity', '/key', '--known-hosts', '/known_hosts'],
    ]);
    const untouched = await lab.network('web');
    const log = async (): Promise<string> => {
      const { stdout, stderr } = await lab.engine.docker(['logs', 'attacher']);
      return stdout + stderr;
    };
    await waitFor(
      'web to be carried',
      async () => /^web: netproxy is ready/m.test(await log()),
      30_000,
    ).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await log()}`);
    });
    assert.equal(await lab.target('web'), 'hello');
    await lab.engine.docker(['stop', 'attacher']);
    assert.equal(await lab.engine.inspect('attacher', '.State.ExitCode'), 0);
    assert.equal(await lab.network('web'), untouched);
  });

  test('with onExit closed leaves the container closed', async () => {
    await lab.container('shut');
    const attached = lab.attach(['shut', '--on-exit', 'closed']);
    await lab.carries(attached, 'shut');
    assert.equal(await attached.stop(), 0);
    assert.equal(await lab.target('shut'), 'ENETUNREACH');
  });

  test('refuses what it cannot enter, and says what to do', async () => {
    await lab.container('stopped');
    await lab.engine.docker(['stop', 'stopped']);
    await lab.container('onhost', '--network=host');
    const idle = ['node', '-e', 'setInterval(() => {}, 1e9)'];
    await lab.engine.docker([
      'run',
      '-d',
      '--name',
      'behind',
      '--network=container:web',
      IMAGES.node,
      ...idle,
    ]);
    await lab.container('odd', '--label', 'netproxy.locl=10.0.0.0/8', '--label', 'netproxy.metadata=never');
    const refused = async (args: readonly string[], code: number, told: RegExp): Promise<void> => {
      const attached = lab.attach(args);
      await waitFor('the end of netproxy', () => attached.child.exitCode !== null);
      await attached.closed();
      assert.match(attached.stderr, told);
      assert.equal(attached.child.exitCode, code);
    };
    await refused(['nobody'], 64, /^error CONTAINER_UNKNOWN: No such container: nobody\n +fix: "docker ps"/m);
    await refused(
      ['stopped'],
      64,
      /^error CONTAINER_UNSUITABLE: stopped: the container does not run\n +fix: Start it: docker start stopped/m,
    );
    await refused(['onhost'], 64, /network namespace of the machine/);
    await refused(['behind'], 64, /of another, [0-9a-f]{12}\n +fix: Attach to that one/);
    await refused(
      ['odd'],
      64,
      /container odd, label netproxy\.locl: no such label.*\n +fix: Did you mean netproxy\.local\?/,
    );
    await refused(
      ['odd'],
      64,
      /container odd, label netproxy\.metadata: found "never".*allowed: reject, direct/,
    );
    await refused([], 64, /neither a container nor --watch/);
    await refused(['web', '--watch'], 64, /both a container and --watch/);
    // What was refused has not been touched.
    assert.doesNotMatch(await lab.network('odd'), /tun0|netproxy/);
  });

  test('puts back what it took over when it cannot go on from the start', async () => {
    const untouched = await lab.network('web');
    const attached = lab.attach(['web', '--tun-address4', '198.18.0.1/30', '--dns-port', '80']);
    await waitFor('the end of netproxy', () => attached.child.exitCode !== null);
    await attached.closed();
    assert.match(attached.stderr, /DNS_PORT_BUSY/);
    assert.equal(await lab.network('web'), untouched);
  });
});
