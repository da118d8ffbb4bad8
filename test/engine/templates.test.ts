/** Each compose template as a person would start it: a bastion, a key, and an application that knows nothing of it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { engineBuilds } from '../lab/engine.ts';
import type { Project } from '../lab/engine.ts';
import { LAB } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import { SAYS } from '../netns/dns-world.ts';
import { PORTS } from '../netns/ports.ts';
import { BASTION_NAME, Site, SSHD_CONFIG, templates } from './site.ts';
import type { ProjectOverrides } from './site.ts';

const echo = String(PORTS.echo);

for (const build of engineBuilds()) {
  describe(`on the ${build.name} engine`, () => {
    let site: Site;
    before(async () => {
      site = await Site.create(build);
    });
    after(() => site?.close());

    /** Up, what every template promises, `more`, and down. */
    const whole = async (
      file: string,
      overrides: ProjectOverrides = {},
      more: (project: Project, app: string) => Promise<void> = async () => {},
    ): Promise<void> => {
      const project = site.template(file, overrides);
      try {
        await project.up();
        const app = await project.container('app');
        assert.equal((await site.app(app, 'echo', LAB.target.v4, echo)).echo, 'hello', 'a target by address');
        assert.deepEqual((await site.app(app, 'lookup', 'web.example')).addresses, [SAYS.far]);
        assert.equal((await site.app(app, 'echo', 'web.example', echo)).echo, 'hello', 'a target by name');
        const closed = String(PORTS.closed);
        assert.equal(
          (await site.app(app, 'echo', LAB.target.v4, closed)).code,
          'EHOSTUNREACH',
          'not in PermitOpen',
        );
        await more(project, app);
      } catch (error) {
        const { stdout } = await project.compose(['logs', '--no-color', '--tail', '60'], { mayFail: true });
        throw new Error(`${(error as Error).message}\n${stdout}`, { cause: error });
      } finally {
        await project.down();
      }
    };

    test('sidecar.yaml, with a key that only its owner may read', async () => {
      const key = join(site.folder, 'key');
      copyFileSync(site.sshd.clientKeyFile, key);
      chmodSync(key, 0o600);
      chownSync(key, 1000, 1000);
      await whole('sidecar.yaml', { env: { KEY_FILE: key } });
    });

    test('anchor.yaml', async () => {
      // An old engine's resolver, which sends from within the namespace, gets nowhere in one that is closed.
      const byAddress = { BASTION: `ssh://${site.sshd.user}@${LAB.bastion.v4}` };
      await whole('anchor.yaml', build.name === 'oldest' ? { env: byAddress } : {});
    });

    test('zero-window.yaml: the relay is the only way out', async () => {
      const config = join(site.folder, 'netproxy.yaml');
      writeFileSync(
        config,
        readFileSync(join(templates, 'netproxy.yaml'), 'utf8').replace('deploy', site.sshd.user),
      );
      const env = { BASTION_HOST: BASTION_NAME, CONFIG_FILE: config };
      await whole('zero-window.yaml', { env }, async (project) => {
        const netproxy = await project.container('netproxy');
        const networks = await site.engine.inspect<Record<string, unknown>>(
          netproxy,
          '.NetworkSettings.Networks',
        );
        assert.deepEqual(Object.keys(networks), [`${project.name}_inside`]);
      });
    });

    test('jump.yaml: what only the inner bastion reaches', async () => {
      const only = '203.0.113.250';
      await site.lab.target.ip(`addr add ${only}/32 dev lo`);
      const etc = `/etc/netns/${site.lab.target.name}`;
      mkdirSync(etc, { recursive: true });
      writeFileSync(`${etc}/resolv.conf`, `nameserver ${LAB.target.v4}\n`);
      const inner = await startSshd({
        netns: site.lab.target.name,
        address: LAB.target.v4,
        port: 22,
        etc: true,
        names: ['inner.example'],
        config: SSHD_CONFIG,
      });
      try {
        copyFileSync(site.sshd.authorizedKeysFile, inner.authorizedKeysFile);
        const known = join(site.folder, 'known_hosts-jump');
        writeFileSync(
          known,
          [site.sshd, inner].map((server) => readFileSync(server.knownHostsFile, 'utf8')).join(''),
        );
        const { user } = site.sshd;
        const env = {
          JUMP: `${user}@${BASTION_NAME}`,
          BASTION: `ssh://${user}@inner.example`,
          KNOWN_HOSTS_FILE: known,
        };
        await whole('jump.yaml', { env }, async (_project, app) => {
          assert.equal((await site.app(app, 'echo', only, echo)).echo, 'hello');
        });
      } finally {
        await inner.stop();
        rmSync(etc, { recursive: true, force: true });
      }
    });

    for (const [port, code] of [
      [PORTS.echo, 0],
      [PORTS.closed, 3],
    ] as const) {
      test(`ci.yaml: the exit code of the job, ${code}`, async () => {
        const env = {
          SSH_KEY: readFileSync(site.sshd.clientKeyFile, 'utf8'),
          SSH_KNOWN_HOSTS: readFileSync(site.sshd.knownHostsFile, 'utf8'),
        };
        const command = ['job', LAB.target.v4, String(port)];
        const project = site.template('ci.yaml', { service: 'tests', command, env });
        try {
          const done = await project.compose(['up', '--exit-code-from', 'tests'], { mayFail: true });
          assert.equal(done.code, code, `${done.stdout}${done.stderr}`);
        } finally {
          await project.down();
        }
      });
    }
  });
}
