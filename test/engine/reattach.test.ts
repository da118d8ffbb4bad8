/** Containers that lost their network, on real engines: how they are found, and made whole again. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { engineBuilds, IMAGES, startEngine } from '../lab/engine.ts';
import type { Engine, Project } from '../lab/engine.ts';
import { createLab } from '../lab/namespaces.ts';
import type { Lab, RunResult } from '../lab/namespaces.ts';
import { netproxy } from './netproxy.ts';
import { SocketProxy } from './socket-proxy.ts';

const IDLE = ['node', '-e', 'setInterval(() => {}, 1e9)'];
const COMPOSE = `
services:
  provider:
    image: ${IMAGES.node}
    command: ${JSON.stringify(IDLE)}
    stop_signal: SIGKILL
  app:
    image: ${IMAGES.node}
    command: ${JSON.stringify(IDLE)}
    stop_signal: SIGKILL
    network_mode: service:provider
    environment: { SECRET_OF_APP: kept }
    labels: { of.app: kept }
    working_dir: /tmp
    healthcheck: { test: [CMD, "true"], interval: 1h }
    volumes:
      - named:/named
      - /nameless
volumes: { named: {} }
`;

interface Told {
  readonly containers: readonly {
    name: string;
    role: string;
    provider?: string;
    namespace: string;
    health?: string;
  }[];
}

interface Repaired {
  readonly ok: boolean;
  readonly repairs: readonly {
    container: { name: string };
    kind: string;
    done: boolean;
    why: string;
    fix?: string;
  }[];
}

for (const build of engineBuilds()) {
  describe(`dependents on the ${build.name} engine`, () => {
    let lab: Lab;
    let engine: Engine;
    let project: Project;
    let folder: string;
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'netproxy-reattach-'));
      writeFileSync(join(folder, 'compose.yaml'), COMPOSE);
      lab = await createLab();
      engine = await startEngine(lab.app, { build });
      project = engine.project({ name: 'p', files: [join(folder, 'compose.yaml')] });
    });
    beforeEach(async () => {
      await engine.clear();
      await project.compose(['up', '--detach']);
    });
    after(async () => {
      await engine?.stop();
      await lab?.cleanup();
      rmSync(folder, { recursive: true, force: true });
    });

    const devices = async (container: string): Promise<string[]> => {
      const { stdout } = await engine.exec(container, [
        'node',
        '-p',
        'Object.keys(os.networkInterfaces()).join()',
      ]);
      return stdout.trim().split(',');
    };
    const namespace = async (name: string): Promise<string | undefined> => {
      const { stdout } = await netproxy(engine, ['status', '--docker', '--json']);
      return (JSON.parse(stdout) as Told).containers.find((each) => each.name === name)?.namespace;
    };
    const reattach = async (...words: string[]): Promise<Repaired> => {
      const { stdout, stderr } = await netproxy(engine, ['reattach', '--json', ...words]);
      assert.notEqual(stdout, '', stderr);
      return JSON.parse(stdout) as Repaired;
    };

    test('are listed with their providers, in a table and as JSON', async () => {
      const { stdout } = await netproxy(engine, ['status', '--docker']);
      assert.match(stdout, /^CONTAINER +ROLE +PROVIDER +NAMESPACE +HEALTH +NETPROXY\n/);
      assert.match(stdout, /^p-app-1 +dependent +p-provider-1 +alive +(starting|healthy) +-$/m);
      assert.match(stdout, /^p-provider-1 +provider +- +its own +- +-$/m);
      assert.deepEqual(await reattach(), { ok: true, dryRun: false, repairs: [] });
    });

    test('of a provider that was restarted are restarted', async () => {
      await engine.docker(['restart', 'p-provider-1']);
      assert.deepEqual(await devices('p-app-1'), ['lo']);
      assert.equal(await namespace('p-app-1'), 'orphaned');
      const id = await engine.inspect('p-app-1', '.Id');
      const planned = await reattach('--dry-run');
      assert.deepEqual(
        planned.repairs.map(({ kind, done, container }) => [kind, done, container.name]),
        [['restart', false, 'p-app-1']],
      );
      assert.deepEqual(await devices('p-app-1'), ['lo']);
      const done = await reattach();
      assert.deepEqual([done.ok, done.repairs[0]?.done], [true, true]);
      assert.ok((await devices('p-app-1')).includes('eth0'));
      assert.equal(await engine.inspect('p-app-1', '.Id'), id);
      assert.equal(await namespace('p-app-1'), 'alive');
    });

    test('of a provider that was recreated are made anew, and nothing is lost', async () => {
      const write = "for (const at of ['/named', '/nameless']) fs.writeFileSync(`${at}/x`, 'kept')";
      await engine.exec('p-app-1', ['node', '-e', write]);
      interface Inspected {
        Id: string;
        Config: {
          Env: string[];
          Labels: Record<string, string>;
          Cmd: string[];
          WorkingDir: string;
          Healthcheck: object;
        };
        Mounts: { Type: string; Name: string; Destination: string }[];
        Image: string;
      }
      const old = await engine.inspect<Inspected>('p-app-1');
      await project.compose(['up', '--detach', '--no-deps', '--force-recreate', 'provider']);
      assert.equal(await namespace('p-app-1'), 'gone');
      assert.deepEqual(
        (await reattach('--dry-run')).repairs.map(({ kind, done }) => [kind, done]),
        [['recreate', false]],
      );
      assert.equal(await engine.inspect('p-app-1', '.Id'), old.Id);

      const { ok, repairs } = await reattach();
      assert.ok(ok, JSON.stringify(repairs));
      const anew = await engine.inspect<Inspected>('p-app-1');
      assert.notEqual(anew.Id, old.Id);
      assert.ok((await devices('p-app-1')).includes('eth0'));
      const read =
        "['/named', '/nameless'].map((at) => fs.readFileSync(`${at}/x`)).join() + process.env.SECRET_OF_APP";
      assert.equal((await engine.exec('p-app-1', ['node', '-p', read])).stdout.trim(), 'kept,keptkept');
      const facts = ({ Config, Mounts, Image }: Inspected): unknown => [
        [Config.Env, Config.Labels, Config.Cmd, Config.WorkingDir, Config.Healthcheck, Image],
        Mounts.map(({ Type, Name, Destination }) => `${Type} ${Name} ${Destination}`).toSorted(),
      ];
      assert.deepEqual(facts(anew), facts(old));
      // Neither the old container nor a new one under another name is left, and Compose knows this one.
      const { stdout } = await engine.docker(['ps', '--all', '--format', '{{.Names}}']);
      assert.deepEqual(stdout.trim().split('\n').toSorted(), ['p-app-1', 'p-provider-1']);
      assert.equal(await project.container('app'), anew.Id);
      assert.deepEqual((await reattach()).repairs, []);
    });

    test('of a provider without Compose are made anew with the container that has its name', async () => {
      const run = (...words: string[]): Promise<RunResult> =>
        engine.docker(['run', '--detach', '--stop-signal', 'KILL', ...words, IMAGES.node, ...IDLE]);
      await run('--name', 'way');
      await run('--name', 'behind', '--network', 'container:way');
      await engine.docker(['rm', '--force', 'way']);
      const lost = await reattach();
      const left = lost.repairs.find(({ container }) => container.name === 'behind');
      assert.deepEqual([lost.ok, left?.kind, left?.done], [false, 'none', false]);
      assert.match(left?.fix ?? '', /netproxy reattach NAME/);
      await run('--name', 'way');
      assert.ok((await reattach()).ok);
      assert.ok((await devices('behind')).includes('eth0'));
    });
  });
}

/** Keys for TLS as Docker's clients have them in one folder, and the flags of a dockerd that asks for them. */
function tls(folder: string): readonly string[] {
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-subj', '/CN=ca', '-keyout', at('ca-key.pem'), '-out', at('ca.pem'));
  for (const [name, purpose] of [
    ['server-', 'serverAuth'],
    ['', 'clientAuth'],
  ] as const) {
    const [cert, private_] = [at(`${name}cert.pem`), at(`${name}key.pem`)];
    const more = ['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', `extendedKeyUsage=${purpose}`];
    const signed = ['-CA', at('ca.pem'), '-CAkey', at('ca-key.pem')];
    openssl('req', '-x509', ...key, '-subj', '/CN=x', ...more, ...signed, '-keyout', private_, '-out', cert);
  }
  const files = [
    `--tlscacert=${at('ca.pem')}`,
    `--tlscert=${at('server-cert.pem')}`,
    `--tlskey=${at('server-key.pem')}`,
  ];
  return ['-H', 'tcp://127.0.0.1:2376', '--tlsverify', ...files];
}

describe('the engine, and what may stand before it', () => {
  let lab: Lab;
  let engine: Engine;
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'netproxy-tls-'));
    lab = await createLab();
    engine = await startEngine(lab.app, { flags: tls(folder) });
    const run = ['run', '--detach', '--stop-signal', 'KILL'];
    await engine.docker([...run, '--name', 'way', IMAGES.node, ...IDLE]);
    await engine.docker([...run, '--name', 'behind', '--network', 'container:way', IMAGES.node, ...IDLE]);
    await engine.docker(['rm', '--force', 'way']);
    await engine.docker([...run, '--name', 'way', IMAGES.node, ...IDLE]);
  });
  after(async () => {
    await engine?.stop();
    await lab?.cleanup();
    rmSync(folder, { recursive: true, force: true });
  });

  test('is asked by TLS, and told when its keys lack or it has others', async () => {
    const asked = (env: NodeJS.ProcessEnv): Promise<RunResult> =>
      netproxy(engine, ['status', '--docker'], {
        env: {
          DOCKER_HOST: 'tcp://127.0.0.1:2376',
          DOCKER_TLS_VERIFY: '1',
          DOCKER_CERT_PATH: folder,
          ...env,
        },
      });
    assert.match((await asked({})).stdout, /^behind +dependent /m);
    const lacking = await asked({ DOCKER_CERT_PATH: '/nowhere' });
    assert.match(lacking.stderr, /^error DOCKER_UNREACHABLE: .*reading \/nowhere\/ca\.pem/);
    const strangers = mkdtempSync(join(folder, 'strangers-'));
    tls(strangers);
    assert.match(
      (await asked({ DOCKER_CERT_PATH: strangers })).stderr,
      /^error DOCKER_UNREACHABLE: .*certificate/,
    );
  });

  const through = async (proxy: SocketProxy, ...args: string[]): Promise<RunResult> =>
    netproxy(engine, args, { env: proxy.environment });

  test('a proxy that lets nothing but GET through is enough for what reads, and is named by what does not', async () => {
    const proxy = await SocketProxy.start(engine, { allows: /^GET / });
    try {
      const before = await engine.inspect('behind', '.Id');
      assert.match(
        (await through(proxy, 'status', '--docker')).stdout,
        /^behind +dependent .*provider gone/m,
      );
      const planned = await through(proxy, 'reattach', '--dry-run');
      assert.deepEqual([planned.code, planned.stderr], [0, '']);
      assert.match(planned.stdout, /^to be recreated behind: .*; way took its place$/m);
      assert.deepEqual(
        proxy.seen.filter((call) => !call.startsWith('GET ')),
        [],
      );
      const refused = await through(proxy, 'reattach');
      assert.equal(refused.code, 1);
      assert.match(
        refused.stdout,
        /^failed behind: .*\n +.*POST \/containers\/create: 403 403 Forbidden\n +fix: .*POST and DELETE/m,
      );
      assert.equal(await engine.inspect('behind', '.Id'), before);
    } finally {
      await proxy.close();
    }
  });

  test('a start that fails leaves the old container under its name, and running', async () => {
    const proxy = await SocketProxy.start(engine, { allows: /^(GET|DELETE) |\/(create|stop|rename)$/ });
    try {
      const before = await engine.inspect('behind', '.Id');
      const { code, stdout } = await through(proxy, 'reattach');
      assert.equal(code, 1);
      // The proxy does not let the old one be started again, either.
      assert.match(stdout, /putting it back failed, too: .*\/start: 403/);
      assert.equal(await engine.inspect('behind', '.Id'), before);
      const names = await engine.docker(['ps', '--all', '--format', '{{.Names}}']);
      assert.deepEqual(names.stdout.trim().split('\n').toSorted(), ['behind', 'way']);
    } finally {
      await proxy.close();
    }
  });

  test('one that is too old is told', async () => {
    const proxy = await SocketProxy.start(engine, {
      allows: /./,
      rewrite: (path, body) =>
        path === '/version' ? JSON.stringify({ Version: '19.03.15', ApiVersion: '1.40' }) : body,
    });
    try {
      const { code, stderr } = await through(proxy, 'status', '--docker');
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^error DOCKER_TOO_OLD: .*engine 19\.03\.15 speaks version 1\.40 of the API; at least 1\.41/,
      );
    } finally {
      await proxy.close();
    }
  });

  test('one that is not there, that may not be asked, or lacks a container is told, with what to do', async () => {
    const told = async (
      env: NodeJS.ProcessEnv,
      args: readonly string[],
      ...before: string[]
    ): Promise<string> => (await netproxy(engine, args, { env, before })).stderr;
    const status = ['status', '--docker'];
    assert.match(
      await told({ DOCKER_HOST: 'unix:///nowhere.sock' }, status),
      /^error DOCKER_UNREACHABLE: unix:\/\/\/nowhere\.sock: GET \/version: ENOENT .*\n +fix: Start the engine, or mount its socket/,
    );
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    assert.match(
      await told({}, status, ...nobody),
      /^error DOCKER_UNREACHABLE: .*EACCES .*\n +fix: Run as root, or as a member of the group/,
    );
    assert.match(
      await told({ DOCKER_HOST: 'ssh://root@host' }, status),
      /^error DOCKER_UNREACHABLE: DOCKER_HOST: found "ssh:/,
    );
    assert.match(
      await told({}, ['reattach', 'nobody']),
      /^error CONTAINER_UNKNOWN: No such container: nobody\n +fix: "docker ps"/,
    );
  });
});
