/** What a container's network gives the application, and goes on giving it beside netproxy. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { IMAGES, engineBuilds } from '../lab/engine.ts';
import type { Project } from '../lab/engine.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { SAYS } from '../netns/dns-world.ts';
import { PORTS } from '../netns/ports.ts';
import { Site, application } from './site.ts';

const PUBLISHED = 18_080;
const ON_MACHINE = 18_081;
const SUBNET6 = 'fd00:77::/64';

/** A neighbour with two networks, one of them with IPv6, and what the application's own namespace is told. */
const over = `
services:
  app:
    healthcheck:
      test: [CMD, node, -e, "fetch('http://127.0.0.1:8080/').then(({ ok }) => process.exit(ok ? 0 : 1))"]
      interval: 1s
      retries: 20
  netproxy:
    # Of docker0, on whose network the container is not.
    environment: { NETPROXY_LOCAL: 172.17.0.1 }
    hostname: frontend
    ports: ["${PUBLISHED}:8080"]
    extra_hosts: ["host.docker.internal:host-gateway", "fixed.example:192.0.2.77"]
    networks: { default: {}, back: {} }
  db:
    image: ${IMAGES.node}
    command: [node, /app.ts]
    volumes: ["${application}:/app.ts:ro"]
    networks: { default: {}, back: { aliases: [database] } }
networks:
  back:
    enable_ipv6: true
    ipam: { config: [{ subnet: "${SUBNET6}" }] }
`;

for (const build of engineBuilds()) {
  describe(`on the ${build.name} engine`, () => {
    let site: Site;
    let project: Project;
    let app: string;
    before(async () => {
      site = await Site.create(build);
      project = site.template('sidecar.yaml', { over });
      await project.up();
      app = await project.container('app');
    });
    after(() => site?.close());

    test('other services are reached by name, by NAME.NETWORK and by alias, directly', async () => {
      const netproxy = await project.container('netproxy');
      type Networks = Record<string, { IPAddress: string; GlobalIPv6Address: string }>;
      const networks = await site.engine.inspect<Networks>(netproxy, '.NetworkSettings.Networks');
      const own = Object.values(networks).flatMap((network) => [
        `::ffff:${network.IPAddress}`,
        network.GlobalIPv6Address,
      ]);
      for (const name of ['db', 'database', `db.${project.name}_back`]) {
        const { text = '', ...rest } = await site.app(app, 'fetch', `http://${name}:8080/`);
        assert.ok(own.includes(text.replace('app ', '')), `${name}: ${text} ${JSON.stringify(rest)}`);
      }
    });

    test('by IPv6', async () => {
      const { addresses = [] } = await site.app(app, 'lookup', 'db');
      const six = addresses.find((address) => address.startsWith('fd00:77:'));
      assert.ok(six !== undefined, addresses.join());
      const { text = '' } = await site.app(app, 'fetch', `http://[${six}]:8080/`);
      assert.match(text, /^app fd00:77:/);
    });

    test('its own name and extra_hosts are as they were', async () => {
      assert.deepEqual((await site.app(app, 'lookup', 'fixed.example')).addresses, ['192.0.2.77']);
      const { addresses = [] } = await site.app(app, 'lookup', 'frontend');
      assert.ok(addresses.length > 0);
      assert.equal((await site.engine.exec(app, ['hostname'])).stdout.trim(), 'frontend');
    });

    test('a published port answers the machine itself and hosts beyond it', async () => {
      const ask = ['curl', '--silent', '--show-error', '--max-time', '10'];
      const own = await site.lab.app.run([...ask, `http://127.0.0.1:${PUBLISHED}/`]);
      assert.match(own.stdout, /^app /);
      const beyond = await site.lab.bastion.run([...ask, `http://${LAB.app.v4}:${PUBLISHED}/`]);
      assert.equal(beyond.stdout, `app ::ffff:${LAB.bastion.v4}`);
    });

    test('host-gateway leads to the machine where it is local', async () => {
      const script = `require('http').createServer((q, r) => r.end('machine ' + q.socket.remoteAddress)).listen(${ON_MACHINE}, '0.0.0.0')`;
      const server = site.lab.app.spawn([process.execPath, '-e', script], { stdio: 'ignore' });
      try {
        const said = await waitFor('the machine', async () => {
          const answer = await site.app(app, 'fetch', `http://host.docker.internal:${ON_MACHINE}/`);
          return answer.status === 200 && answer;
        });
        assert.match(said.text ?? '', /^machine 172\./);
      } finally {
        server.kill();
      }
    });

    test('no question for a name of outside is asked by the engine, in this namespace or the machine’s', async () => {
      const plain = site.engine.docker([
        'run',
        '--rm',
        '--network',
        `${project.name}_default`,
        '--volume',
        `${application}:/app.ts:ro`,
        IMAGES.node,
        'node',
        '/app.ts',
        'lookup',
        'control.example',
      ]);
      assert.match(
        (await plain).stdout,
        new RegExp(SAYS.near.replaceAll('.', '\\.')),
        'without netproxy it is asked',
      );
      assert.ok(site.askedNear.includes('control.example'));
      for (const name of ['one.example', 'two.corp.example', 'x.internal.example.org']) {
        assert.deepEqual((await site.app(app, 'lookup', name)).addresses, [SAYS.far], name);
      }
      assert.equal((await site.app(app, 'echo', 'three.example', String(PORTS.echo))).echo, 'hello');
      const own = new Set(['control.example', 'bastion.example']);
      assert.deepEqual(
        site.askedNear.filter((name) => !own.has(name)),
        [],
      );
    });

    test('of names without a dot the engine alone is asked, which hands on what no container is named', async () => {
      await site.app(app, 'lookup', 'nobody');
      const asked = site.askedNear.filter((name) => name.includes('nobody'));
      assert.ok(
        asked.every((name) => name === 'nobody'),
        asked.join(),
      );
    });
  });
}
