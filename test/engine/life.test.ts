/**
 * What becomes of the application when netproxy, its container, the bastion or the engine comes and goes, as
 * docs/compose.md says. All the while an oracle looks at the bridge.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { IMAGES, engineBuilds } from '../lab/engine.ts';
import type { Project } from '../lab/engine.ts';
import { capture, LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from '../netns/ports.ts';
import { Site, application } from './site.ts';

const HEAL_DEADLINE_MS = 60_000;
const echo = String(PORTS.echo);

/** A neighbour with an echo server, to which the application keeps a connection, while it presses to get out. */
const neighbour = (owner: string): string => `
services:
  app:
    environment: { KEEP_HOST: peer, KEEP_PORT: "7" }
  ${owner}:
    ports: ["18080:8080"]
    networks: [default]
  peer:
    image: ${IMAGES.node}
    command: [node, -e, "require('net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(7)"]
    init: true
  press:
    image: ${IMAGES.node}
    command: [node, /app.ts, press, "${LAB.target.v4}", "${echo}"]
    volumes: ["${application}:/app.ts:ro"]
    network_mode: service:${owner}
    depends_on: [${owner}, peer]
    restart: unless-stopped
`;

interface State {
  readonly Running: boolean;
  readonly Error: string;
}

interface Kept {
  readonly exchanges: number;
  readonly ended: string;
}

for (const build of engineBuilds()) {
  describe(`on the ${build.name} engine`, () => {
    let site: Site;
    // By address: an old engine looks nothing up in a namespace that is closed already.
    const env = (): Record<string, string> => ({ BASTION: `ssh://${site.sshd.user}@${LAB.bastion.v4}` });
    before(async () => {
      site = await Site.create(build);
    });
    after(() => site?.close());

    const networkOf = async (container: string): Promise<string> =>
      (await site.engine.exec(container, ['readlink', '/proc/self/ns/net'])).stdout;
    const reaches = (container: string): Promise<unknown> =>
      waitFor(
        'the target',
        async () => (await site.app(container, 'echo', LAB.target.v4, echo)).echo === 'hello',
        HEAL_DEADLINE_MS,
      );
    const health = (container: string): Promise<string> =>
      site.engine.inspect(container, '.State.Health.Status');
    const until = (container: string, wanted: string): Promise<unknown> =>
      waitFor(wanted, async () => (await health(container)) === wanted, HEAL_DEADLINE_MS);
    /** Kills the process of a container from outside, as the kernel would when memory is short. */
    const crash = async (container: string): Promise<void> => {
      const [pid, count] = await Promise.all([
        site.engine.inspect<number>(container, '.State.Pid'),
        site.engine.inspect<number>(container, '.RestartCount'),
      ]);
      process.kill(pid, 'SIGKILL');
      await waitFor(
        'the restart',
        async () => (await site.engine.inspect<number>(container, '.RestartCount')) > count,
        HEAL_DEADLINE_MS,
      );
    };

    describe('anchor.yaml', () => {
      let project: Project;
      let app = '';
      let network = '';
      const kept = async (): Promise<Kept> => {
        const { text = '{}' } = await site.app(app, 'fetch', 'http://127.0.0.1:8080/kept');
        return JSON.parse(text) as Kept;
      };
      before(async () => {
        project = site.template('anchor.yaml', {
          env: env(),
          over: `${neighbour('anchor')}  netproxy:\n    environment: { NETPROXY_CONNECT_HOLD: 1s }\n`,
        });
        await project.up();
        app = await project.container('app');
        network = await networkOf(app);
      });
      after(() => project?.down());

      const faults: Record<string, () => Promise<void>> = {
        'netproxy is killed': async () => crash(await project.container('netproxy')),
        'netproxy is restarted': async () =>
          void (await project.compose(['restart', '--timeout', '5', 'netproxy'])),
        'netproxy is made anew, as by an upgrade': async () =>
          void (await project.compose(['up', '--detach', '--no-deps', '--force-recreate', 'netproxy'])),
      };
      for (const [fault, act] of Object.entries(faults)) {
        test(`${fault}: the namespace, the local connection and the published port go on, and nothing leaks`, async () => {
          const oracle = await site.oracle(await project.container('anchor'));
          try {
            const before = await kept();
            await act();
            await reaches(app);
            await until(await project.container('netproxy'), 'healthy');
            assert.equal(await networkOf(app), network);
            const { exchanges, ended } = await kept();
            assert.equal(ended, '');
            assert.ok(exchanges > before.exchanges);
            const { stdout } = await site.lab.bastion.run(['curl', '-sS', `http://${LAB.app.v4}:18080/`]);
            assert.match(stdout, /^app /);
            const { leaks, toBastion } = await oracle.look();
            assert.deepEqual(leaks, []);
            assert.ok(toBastion > 0);
          } finally {
            await oracle.stop();
          }
        });
      }

      test('the bastion goes and returns: unhealthy, and healthy again, and nothing leaks', async () => {
        const netproxy = await project.container('netproxy');
        const oracle = await site.oracle(await project.container('anchor'));
        try {
          await site.sshd.halt();
          await until(netproxy, 'unhealthy');
          assert.equal((await site.app(app, 'echo', LAB.target.v4, echo)).code, 'EHOSTUNREACH');
          await site.sshd.start();
          await until(netproxy, 'healthy');
          await reaches(app);
          assert.deepEqual((await oracle.look()).leaks, []);
        } finally {
          await oracle.stop();
          await site.sshd.start();
        }
      });

      test('the engine restarts: nothing leaks, and what it does not start again compose does', async (t) => {
        const filter = `dst host ${LAB.target.v4}`;
        const capturing = await capture(site.lab.bastion, 'lan0', filter, 'in');
        const seen = (): string[] => capturing.lines.filter((line) => line !== '');
        try {
          // From the machine itself, which nobody keeps from it: the capture sees what leaks.
          await site.lab.app.run(['bash', '-c', `printf x > /dev/udp/${LAB.target.v4}/9`]);
          await waitFor('the capture to see a leak', () => seen().length === 1);
          await site.engine.restart();
          await waitFor(
            'the application to be started or given up',
            async () => {
              const { Running, Error } = await site.engine.inspect<State>(app, '.State');
              if (Error !== '') t.diagnostic(Error);
              return Running || Error !== '';
            },
            HEAL_DEADLINE_MS,
          );
          // Also a newcomer's cure: an engine starts a container before the one whose network it shares, and then
          // does not try again.
          await project.up();
          app = await project.container('app');
          await reaches(app);
        } finally {
          await capturing.stop();
        }
        // Not the kernel's count, which holds what came before the filter was in place: here the link is busy.
        assert.deepEqual(seen().slice(1, 6), []);
      });
    });

    describe('sidecar.yaml', () => {
      let project: Project;
      before(async () => {
        project = site.template('sidecar.yaml', { env: env(), over: neighbour('netproxy') });
        await project.up();
      });
      after(() => project?.down());

      test('netproxy is killed: the application is left in the old namespace, closed, until it is restarted', async () => {
        const [app, netproxy] = await Promise.all([project.container('app'), project.container('netproxy')]);
        const network = await networkOf(app);
        await crash(netproxy);
        await until(netproxy, 'healthy');
        assert.equal(await networkOf(app), network);
        assert.notEqual(await networkOf(netproxy), network);
        assert.equal((await site.app(app, 'echo', LAB.target.v4, echo)).code, 'ENETUNREACH');
        await project.compose(['restart', '--timeout', '1', 'app']);
        assert.equal(await networkOf(app), await networkOf(netproxy));
        await reaches(app);
      });

      test('netproxy alone is made anew: the application is left, closed, until compose brings all up', async () => {
        const left = await project.container('app');
        await project.compose([
          'up',
          '--detach',
          '--no-deps',
          '--force-recreate',
          '--timeout',
          '1',
          'netproxy',
        ]);
        assert.equal((await site.app(left, 'echo', LAB.target.v4, echo)).code, 'ENETUNREACH');
        await project.up();
        const app = await project.container('app');
        assert.equal(await networkOf(app), await networkOf(await project.container('netproxy')));
        await reaches(app);
      });

      const whole = {
        restart: ['restart', '--timeout', '2', 'netproxy'],
        up: ['up', '--detach', '--force-recreate', '--timeout', '2'],
      };
      for (const [word, words] of Object.entries(whole)) {
        test(`compose ${word} takes the application along`, async () => {
          await project.compose(words);
          const app = await project.container('app');
          assert.equal(await networkOf(app), await networkOf(await project.container('netproxy')));
          await reaches(app);
        });
      }
    });
  });
}
