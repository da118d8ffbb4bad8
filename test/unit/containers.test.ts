import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { isNamed, readContainer, startedAfter } from '../../src/containers/container.ts';
import { dependentsOf, successorOf } from '../../src/containers/dependents.ts';
import { readEvents } from '../../src/containers/events.ts';
import { engineFailure } from '../../src/containers/failure.ts';
import { engineAddress } from '../../src/containers/host.ts';
import { entranceOf, namespaceOf } from '../../src/containers/namespace.ts';
import type { Proc } from '../../src/containers/namespace.ts';
import { recreateBody } from '../../src/containers/recreate.ts';
import { survey } from '../../src/containers/survey.ts';
import type { NetproxyError } from '../../src/core/errors.ts';
import { answerFor, container, id } from './container-engine.ts';

const unseen = (): undefined => undefined;

describe('the address of the engine', () => {
  for (const [environment, wanted] of [
    [{}, 'socket /var/run/docker.sock'],
    [{ DOCKER_HOST: '' }, 'socket /var/run/docker.sock'],
    [{ DOCKER_HOST: 'unix:///run/user/0/docker.sock' }, 'socket /run/user/0/docker.sock'],
    [{ DOCKER_HOST: 'tcp://docker-proxy:2375' }, 'tcp docker-proxy 2375 undefined'],
    [{ DOCKER_HOST: 'tcp://[::1]:99' }, 'tcp ::1 99 undefined'],
    [{ DOCKER_HOST: 'tcp://h' }, 'tcp h 2375 undefined'],
    [{ DOCKER_HOST: 'tcp://h', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/c' }, 'tcp h 2376 /c'],
    [{ DOCKER_HOST: 'tcp://h', DOCKER_TLS_VERIFY: '1', HOME: '/root' }, 'tcp h 2376 /root/.docker'],
  ] as const) {
    test(`is ${wanted} for ${JSON.stringify(environment)}`, () => {
      const address = engineAddress(environment);
      const told =
        address.kind === 'socket'
          ? `socket ${address.path}`
          : `tcp ${address.host} ${address.port} ${address.certificates}`;
      assert.equal(told, wanted);
    });
  }

  for (const text of [
    'ssh://root@h',
    'unix://relative',
    'h:2375',
    'tcp://',
    'tcp://h/path',
    'tcp://h:99999',
  ]) {
    test(`is refused as ${text}, with what is allowed`, () => {
      assert.throws(
        () => engineAddress({ DOCKER_HOST: text }),
        (error: NetproxyError) =>
          error.code === 'DOCKER_UNREACHABLE' && error.message.includes('unix:///PATH'),
      );
    });
  }
});

describe('what the engine fails with', () => {
  const failed = (error: object, what = 'GET /containers/json'): NetproxyError =>
    engineFailure(error, what, 'unix:///s');
  for (const [error, what, code, hint] of [
    [
      { code: 'ENOENT', message: 'connect ENOENT /s' },
      'GET /version',
      'DOCKER_UNREACHABLE',
      /mount its socket/,
    ],
    [{ code: 'EACCES', message: 'connect EACCES /s' }, 'GET /version', 'DOCKER_UNREACHABLE', /group/],
    [{ code: 'ECONNREFUSED', message: '' }, 'GET /version', 'DOCKER_UNREACHABLE', /nobody listens/],
    [{ name: 'TimeoutError', message: 'x' }, 'GET /version', 'DOCKER_UNREACHABLE', /./],
    [
      { statusCode: 403, json: Buffer.from('<h1>403 Forbidden</h1>\n') },
      'POST /containers/x/restart',
      'DOCKER_REFUSED',
      /POST and DELETE/,
    ],
    [{ statusCode: 405 }, 'GET /events', 'DOCKER_REFUSED', /GET of/],
    [
      { statusCode: 404, json: { message: 'No such container: web' } },
      'GET /containers/web/json',
      'CONTAINER_UNKNOWN',
      /docker ps/,
    ],
    [{ statusCode: 404, json: { message: 'page not found' } }, 'GET /x', 'DOCKER_FAILED', /./],
    [{ statusCode: 409, json: { message: 'name in use' } }, 'POST /containers/create', 'DOCKER_FAILED', /./],
  ] as const) {
    test(`is ${code} for ${JSON.stringify(error)}`, () => {
      const told = failed(error, what);
      assert.equal(told.code, code);
      assert.match(told.hint, hint);
    });
  }

  test('is told with the words of the engine, and of no markup', () => {
    assert.match(failed({ statusCode: 500, json: { message: 'disk full' } }).message, /500 disk full$/);
    assert.match(failed({ statusCode: 403, json: '<html><b>Forbidden</b>' }).message, /403 Forbidden$/);
  });
});

describe('a container', () => {
  test('is read from anything at all without a throw', () => {
    fc.assert(
      fc.property(fc.anything(), (answer) => {
        assert.equal(typeof readContainer(answer).name, 'string');
      }),
    );
  });

  test('that waits for its next start does not run', () => {
    const answer = answerFor({ id: id('a'), name: 'a' });
    (answer['State'] as Record<string, unknown>)['Restarting'] = true;
    assert.equal(readContainer(answer).running, false);
  });

  test('is meant by its name, its number and the beginning of that, but not by less', () => {
    const one = { id: id('a'), name: 'web' };
    assert.ok(isNamed(one, 'web') && isNamed(one, id('a')) && isNamed(one, 'aaaaaaaaaaaa'));
    assert.ok(!isNamed(one, '') && !isNamed(one, 'a') && !isNamed(one, 'we'));
  });

  for (const [later, earlier] of [
    ['2026-01-01T00:00:00.5Z', '2026-01-01T00:00:00.499999999Z'],
    ['2026-01-01T00:00:00.12Z', '2026-01-01T00:00:00.119999999Z'],
    ['2026-01-01T00:00:01Z', '2026-01-01T00:00:00.999999999Z'],
    ['2026-01-01T00:00:00.000000001Z', '2026-01-01T00:00:00Z'],
    ['2026-01-01T01:00:00+00:00', '2026-01-01T01:59:00+01:00'],
  ] as const) {
    test(`began at ${later} after one of ${earlier}`, () => {
      const at = (startedAt: string): ReturnType<typeof container> =>
        container({ id: id('a'), name: 'a', startedAt });
      assert.ok(startedAfter(at(later), at(earlier)));
      assert.ok(!startedAfter(at(earlier), at(later)));
      assert.ok(!startedAfter(at(later), at(later)));
    });
  }
});

describe('events', () => {
  const read = async (chunks: readonly (string | Uint8Array)[]): Promise<unknown[]> => {
    const found: unknown[] = [];
    const stream = (async function* () {
      yield* chunks;
    })();
    for await (const event of readEvents(stream)) found.push(event);
    return found;
  };
  const event = (action: string): string =>
    JSON.stringify({ Action: action, Actor: { ID: 'x', Attributes: { name: 'wéb' } } });

  test('are the same however they are divided', async () => {
    const bytes = Buffer.from(`${event('start')}\n${event('die')}\n`);
    const wanted = ['start', 'die'].map((action) => ({ action, id: 'x', name: 'wéb' }));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 6 }), async (cuts) => {
        const at = [0, ...cuts, bytes.length].toSorted((a, b) => a - b);
        const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        assert.deepEqual(await read(chunks), wanted);
      }),
    );
  });

  test('are found between what is none', async () => {
    assert.deepEqual(await read(['null\n{}\n[1]\nx\n', event('start')]), [
      { action: 'start', id: 'x', name: 'wéb' },
    ]);
  });

  test('that do not end are refused', async () => {
    await assert.rejects(read(Array.from({ length: 20 }, () => 'x'.repeat(100_000))), /does not end/);
  });
});

describe('the namespace of a container', () => {
  const web = container({ id: id('a'), name: 'web' });
  const proc = (texts: Record<string, string>, links: Record<string, string>): Proc => ({
    text: (path) => texts[path],
    link: (path) => links[path],
  });
  const seen = proc(
    { '1000/cgroup': `0::/system.slice/docker-${id('a')}.scope\n` },
    { '1000/ns/net': 'net:[4026532000]', 'self/ns/net': 'net:[4026531840]' },
  );

  test('is that of its process', () => {
    assert.equal(namespaceOf(web, seen), '4026532000');
    assert.deepEqual(entranceOf(web, seen), {
      netns: '/proc/1000/ns/net',
      resolvConf: '/proc/1000/root/etc/resolv.conf',
      number: '4026532000',
    });
  });

  test('is never that of a process that is not of the container', () => {
    const other = proc(
      { '1000/cgroup': `0::/docker-${id('b')}.scope` },
      { '1000/ns/net': 'net:[4026532000]' },
    );
    assert.equal(namespaceOf(web, other), undefined);
    assert.throws(() => entranceOf(web, other), /cannot be seen/);
  });

  test('is refused where it is not its own', () => {
    const refused = (made: Partial<Parameters<typeof container>[0]>, by: RegExp, of: Proc = seen): void => {
      assert.throws(
        () => entranceOf(container({ id: id('a'), name: 'web', ...made }), of),
        (error: NetproxyError) => error.code === 'CONTAINER_UNSUITABLE' && by.test(error.message),
      );
    };
    refused({ running: false }, /web: the container does not run/);
    refused({ networkMode: 'host' }, /namespace of the machine/);
    refused({ networkMode: `container:${id('b')}` }, /of another, bbbbbbbbbbbb/);
    const same = proc(
      { '1000/cgroup': id('a') },
      { '1000/ns/net': 'net:[4026531840]', 'self/ns/net': 'net:[4026531840]' },
    );
    refused({}, /namespace of the machine/, same);
  });
});

describe('dependents', () => {
  const provider = (made: object = {}): ReturnType<typeof container> =>
    container({ id: id('a'), name: 'netproxy', startedAt: '2026-01-01T00:00:10Z', ...made });
  const dependent = (made: object = {}): ReturnType<typeof container> =>
    container({
      ...{ id: id('b'), name: 'app', networkMode: `container:${id('a')}` },
      startedAt: '2026-01-01T00:00:20Z',
      ...made,
    });
  const bond = (
    list: readonly ReturnType<typeof container>[],
    namespaces: (each: { name: string }) => string | undefined = unseen,
  ): string | undefined => dependentsOf(list, namespaces)[0]?.bond;

  test('are those that name another container', () => {
    assert.deepEqual(
      dependentsOf([provider(), container({ id: id('c'), name: 'c', networkMode: 'host' })], unseen),
      [],
    );
  });

  test('live while the provider began before them', () => {
    assert.equal(bond([provider(), dependent()]), 'alive');
    assert.equal(bond([provider({ startedAt: '2026-01-01T00:00:30Z' }), dependent()]), 'orphaned');
  });

  test('are judged by their namespaces where those can be seen, whatever the clocks said', () => {
    const late = [provider({ startedAt: '2026-01-01T00:00:30Z' }), dependent()];
    assert.equal(
      bond(late, () => '1'),
      'alive',
    );
    assert.equal(
      bond([provider(), dependent()], ({ name }) => name),
      'orphaned',
    );
  });

  test('may have a provider that is gone or stopped, or be stopped themselves', () => {
    assert.equal(bond([dependent()]), 'gone');
    assert.equal(bond([provider({ running: false }), dependent()]), 'provider-stopped');
    assert.equal(bond([provider(), dependent({ running: false })]), 'stopped');
    assert.equal(bond([dependent({ running: false })]), 'stopped');
  });

  test('that the engine could not start are meant to run', () => {
    const failed = dependent({ running: false, error: 'cannot join network of a non running container' });
    assert.equal(bond([failed]), 'gone');
    assert.equal(bond([provider(), failed]), 'orphaned');
  });

  describe('whose provider is gone', () => {
    const labels = (service: string, dependsOn = ''): Record<string, string> => ({
      'com.docker.compose.project': 'p',
      'com.docker.compose.service': service,
      'com.docker.compose.depends_on': dependsOn,
    });
    const app = dependent({ labels: labels('app', 'netproxy:service_healthy:true') });
    const gone = { container: app, reference: id('a'), provider: undefined, bond: 'gone' } as const;
    const next = container({ id: id('c'), name: 'p-netproxy-1', labels: labels('netproxy') });

    test('go to the container that has its name now', () => {
      const other = container({ id: id('d'), name: 'other' });
      assert.equal(successorOf(gone, [app, other, next], 'other')?.name, 'other');
      assert.equal(successorOf(gone, [app, next], '0123456789ab_p-netproxy-1')?.name, 'p-netproxy-1');
    });

    test('go to the service that they depend on', () => {
      assert.equal(successorOf(gone, [app, next], undefined)?.name, 'p-netproxy-1');
    });

    test('go nowhere when that is not certain', () => {
      const find = (...others: ReturnType<typeof container>[]): unknown =>
        successorOf(gone, [app, ...others], undefined);
      assert.equal(find(), undefined);
      const elsewhere = { ...labels('netproxy'), 'com.docker.compose.project': 'q' };
      assert.equal(find(container({ id: id('d'), name: 'd', labels: elsewhere })), undefined);
      assert.equal(find(container({ id: id('d'), name: 'd', labels: labels('db') })), undefined);
      assert.equal(
        find(container({ id: id('d'), name: 'd', labels: labels('netproxy'), running: false })),
        undefined,
      );
      const second = container({ id: id('d'), name: 'p-netproxy-2', labels: labels('netproxy') });
      assert.equal(find(next, second), undefined);
      const shares = container({
        id: id('d'),
        name: 'd',
        labels: labels('netproxy'),
        networkMode: `container:${id('e')}`,
      });
      assert.equal(find(shares), undefined);
    });
  });

  test('are surveyed with their providers, what is attached, and nothing else', () => {
    const list = [
      provider(),
      dependent(),
      container({ id: id('c'), name: 'lone' }),
      container({ id: id('d'), name: 'web' }),
    ];
    const told = survey(list, ({ name }) => name === 'web', unseen);
    assert.deepEqual(
      told.map(({ name, role, provider: of, namespace }) => [name, role, of, namespace]),
      [
        ['app', 'dependent', 'netproxy', 'alive'],
        ['netproxy', 'provider', undefined, 'own'],
        ['web', 'attached', undefined, 'own'],
      ],
    );
  });
});

describe('a container made anew', () => {
  const old = container({
    id: id('b'),
    name: 'app',
    networkMode: `container:${id('a')}`,
    config: {
      Env: ['A=1'],
      Labels: { x: 'y' },
      Cmd: ['run'],
      Hostname: 'h',
      Domainname: 'd',
      MacAddress: 'm',
      ExposedPorts: { '80/tcp': {} },
      Healthcheck: { Test: ['CMD', 'true'] },
      Volumes: { '/declared': {} },
    },
    hostConfig: {
      Binds: ['data:/data', '/etc/x:/x:ro', '/alone'],
      Mounts: [
        { Type: 'volume', Source: 'named', Target: '/named' },
        { Type: 'volume', Target: '/nameless', ReadOnly: true },
        { Type: 'tmpfs', Target: '/tmp' },
      ],
      CapAdd: ['NET_RAW'],
      RestartPolicy: { Name: 'always' },
      PortBindings: { '80/tcp': [] },
      PublishAllPorts: true,
      IpcMode: `container:${id('a')}`,
      PidMode: `container:${id('c')}`,
    },
    mounts: [
      { Type: 'volume', Name: 'data', Destination: '/data', RW: true },
      { Type: 'bind', Source: '/etc/x', Destination: '/x', RW: false },
      { Type: 'volume', Name: 'named', Destination: '/named', RW: true },
      { Type: 'volume', Name: 'hash1', Destination: '/nameless', RW: false },
      { Type: 'volume', Name: 'hash2', Destination: '/declared', RW: true },
      { Type: 'volume', Name: 'hash3', Destination: '/alone', RW: false },
    ],
  });
  const body = recreateBody(old, { image: 'app:1', gone: id('a'), provider: id('f') });
  const host = body['HostConfig'] as Record<string, unknown>;

  test('keeps what was given, and not what is the provider’s', () => {
    const { HostConfig: _, ...config } = body;
    assert.deepEqual(config, {
      Image: 'app:1',
      Env: ['A=1'],
      Labels: { x: 'y' },
      Cmd: ['run'],
      Healthcheck: { Test: ['CMD', 'true'] },
      Volumes: { '/declared': {} },
      NetworkingConfig: {},
    });
    assert.deepEqual(host['CapAdd'], ['NET_RAW']);
    assert.deepEqual(host['RestartPolicy'], { Name: 'always' });
    assert.deepEqual([host['PortBindings'], host['PublishAllPorts']], [{}, false]);
  });

  test('shares the namespaces of the new provider that it shared with the old one', () => {
    assert.equal(host['NetworkMode'], `container:${id('f')}`);
    assert.equal(host['IpcMode'], `container:${id('f')}`);
    assert.equal(host['PidMode'], `container:${id('c')}`);
  });

  test('has every volume again, those without a name too', () => {
    assert.deepEqual(host['Binds'], ['data:/data', '/etc/x:/x:ro', 'hash2:/declared', 'hash3:/alone:ro']);
    assert.deepEqual(host['Mounts'], [
      { Type: 'volume', Source: 'named', Target: '/named' },
      { Type: 'volume', Target: '/nameless', ReadOnly: true, Source: 'hash1' },
      { Type: 'tmpfs', Target: '/tmp' },
    ]);
  });
});
