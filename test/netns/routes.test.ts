/** The takeover's routes in real namespaces: each way a namespace can look before, taken over and released again. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { planTakeOver, release, takeOver } from '../../src/netns/takeover.ts';
import type { Namespace } from '../lab/namespaces.ts';
import { assertRoutes, inputs, namespaces, namespaceWith, removeNamespaces, V4, V6 } from './route-kinds.ts';
import { INPUT, addTun, connectErrno, runnerIn } from './routes-lab.ts';

const FAR4 = '203.0.113.7';
const FAR6 = '2001:db8:99::7';
const MARK = 0x6e70;

after(removeNamespaces);

async function routeGet(namespace: Namespace, ...argv: string[]): Promise<string> {
  const { stdout, stderr } = await namespace.run(['ip', 'route', 'get', ...argv], { mayFail: true });
  return (stdout + stderr).replaceAll(/\s+/g, ' ').trim();
}

for (const [name, lines] of Object.entries(namespaces)) {
  const input = inputs[name] ?? INPUT;
  describe(`a namespace with ${name}`, () => {
    test('is taken over, and released as it was', async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);

      await takeOver(input, runner);
      assert.match(await routeGet(namespace, FAR4), / dev tun0 src (198\.18\.0\.1|192\.0\.2\.10)/);
      assert.match(await routeGet(namespace, FAR6), / dev tun0 .*src (fd6e:7072::1|2001:db8:1::10)/);
      assert.deepEqual(await planTakeOver(input, runner), [], 'a second takeover has nothing to do');

      await release(runner);
      await namespace.ip('link del tun0');
      await assertRoutes(namespace, before);
      assert.deepEqual(await release(runner), [], 'a second release has nothing to do');
    });

    test('is closed at once when the TUN goes, and opened by a release', async () => {
      const namespace = await namespaceWith(lines);
      const runner = runnerIn(namespace);
      const before = await namespace.routes();
      await addTun(namespace);
      await takeOver(input, runner);
      await namespace.ip('link del tun0');
      assert.equal(await connectErrno(namespace, FAR4), 'ENETUNREACH');
      assert.equal(await connectErrno(namespace, FAR6), 'ENETUNREACH');
      await release(runner);
      await assertRoutes(namespace, before);
    });
  });
}

describe('a marked socket', () => {
  test('goes by the uplink, on the link too, and never by the TUN', async () => {
    const namespace = await namespaceWith(namespaces['both families'] ?? []);
    await addTun(namespace);
    await takeOver(INPUT, runnerIn(namespace));
    const mark = ['mark', String(MARK)];
    assert.match(await routeGet(namespace, FAR4, ...mark), / via 192\.0\.2\.1 dev eth0 .*src 192\.0\.2\.10/);
    assert.match(
      await routeGet(namespace, FAR6, ...mark),
      / via 2001:db8:1::1 dev eth0 .*src 2001:db8:1::10/,
    );
    assert.match(await routeGet(namespace, '192.0.2.55', ...mark), /^192\.0\.2\.55 dev eth0 /);
    assert.match(await routeGet(namespace, '2001:db8:1::55', ...mark), /^2001:db8:1::55 .*dev eth0 /);
    await namespace.ip('link set eth0 down');
    assert.match(await routeGet(namespace, FAR4, ...mark), /unreachable|No route to host/);
    assert.match(await routeGet(namespace, FAR6, ...mark), /unreachable|No route to host/);
  });
});

describe('local networks', () => {
  test('stay on the uplink, follow the configuration and go with the release', async () => {
    const namespace = await namespaceWith(namespaces['both families'] ?? []);
    const runner = runnerIn(namespace);
    const before = await namespace.routes();
    await addTun(namespace);
    const local = ['10.96.0.0/12', '10.1.2.3/32', '2001:db8:77::/48', '192.0.2.128/25'];
    await takeOver({ ...INPUT, local }, runner);
    assert.match(await routeGet(namespace, '10.96.0.10'), / via 192\.0\.2\.1 dev eth0 src 192\.0\.2\.10/);
    assert.match(await routeGet(namespace, '10.1.2.3'), / via 192\.0\.2\.1 dev eth0 /);
    assert.match(await routeGet(namespace, '2001:db8:77::1'), / via 2001:db8:1::1 dev eth0 /);
    assert.match(await routeGet(namespace, '192.0.2.200'), /^192\.0\.2\.200 dev eth0 /);
    assert.match(await routeGet(namespace, '10.1.2.4'), / dev tun0 /);
    assert.deepEqual(await planTakeOver({ ...INPUT, local }, runner), []);
    await takeOver({ ...INPUT, local: ['10.96.0.0/12'] }, runner);
    assert.match(await routeGet(namespace, '10.1.2.3'), / dev tun0 /);
    assert.match(await routeGet(namespace, '10.96.0.10'), / dev eth0 /);
    await release(runner);
    await namespace.ip('link del tun0');
    await assertRoutes(namespace, before);
  });
});

describe('a namespace in which IPv6 is switched off', () => {
  test('is taken over and released, and stays closed should IPv6 be switched on', async () => {
    const namespace = await namespaceWith([]);
    const runner = runnerIn(namespace);
    const switchTo = (value: 0 | 1): Promise<unknown> =>
      namespace.run([
        'sh',
        '-c',
        `for d in all default; do echo ${value} > /proc/sys/net/ipv6/conf/$d/disable_ipv6; done`,
      ]);
    await switchTo(1);
    await namespace.ip(V4, 'route add default via 192.0.2.1');
    const before = await namespace.routes();
    await addTun(namespace);
    await takeOver(INPUT, runner);
    assert.match(await routeGet(namespace, FAR4), / dev tun0 /);
    assert.deepEqual(await planTakeOver(INPUT, runner), []);
    await release(runner);
    await namespace.ip('link del tun0');
    await assertRoutes(namespace, before);

    await addTun(namespace);
    await takeOver(INPUT, runner);
    await switchTo(0);
    await namespace.ip(V6, 'route add default via 2001:db8:1::1 dev eth0');
    assert.equal(await connectErrno(namespace, FAR6), 'ENETUNREACH');
  });
});
