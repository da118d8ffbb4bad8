/** What is known of netproxy's own sockets, and what becomes of a flow that is one of them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NetproxyError } from '../../src/core/errors.ts';
import type { FlowTuple } from '../../src/core/flow.ts';
import type { Log } from '../../src/core/log.ts';
import { OwnSockets } from '../../src/core/own-sockets.ts';
import { proveRoutes } from '../../src/netns/self-test.ts';
import type { NetRunner } from '../../src/netns/runner.ts';
import { LoopGuard } from '../../src/policy/loop.ts';
import { rulesPolicy } from '../../src/policy/policy.ts';
import { Addresses } from '../../src/ssh/addresses.ts';

const flow = (port: number, address: string): FlowTuple => ({
  protocol: 'tcp',
  family: address.includes(':') ? 6 : 4,
  source: { address: '192.0.2.10', port },
  destination: { address, port: 22 },
});

test('a socket is known by its port and its peer, however the address is written, until it is closed', () => {
  const own = new OwnSockets();
  const forget = own.add('tcp', { address: '::', port: 4000 }, { address: '2001:DB8:0::1', port: 22 });
  const again = own.add('tcp', { address: '::', port: 4000 }, { address: '2001:db8::1', port: 22 });
  assert.equal(own.has(flow(4000, '2001:db8::1')), true);
  assert.equal(own.has({ ...flow(4000, '2001:db8::1'), protocol: 'udp' }), false);
  assert.equal(own.has(flow(4001, '2001:db8::1')), false);
  forget();
  forget();
  assert.equal(own.has(flow(4000, '2001:db8::1')), true);
  again();
  assert.equal(own.has(flow(4000, '2001:db8::1')), false);
});

test("own flows are refused and told, once in a while; another's to the same bastion go on", () => {
  const told: object[] = [];
  const log = { error: (fields: object) => void told.push(fields) } as unknown as Log;
  const own = new OwnSockets();
  own.add('tcp', { address: '192.0.2.10', port: 4000 }, { address: '198.51.100.1', port: 22 });
  const policy = new LoopGuard(rulesPolicy([], 'main'), (tuple) => own.has(tuple), log);
  assert.equal(policy.decide(flow(4001, '198.51.100.1')).kind, 'upstream');
  for (let times = 0; times < 3; times++)
    assert.equal(policy.decide(flow(4000, '198.51.100.1')).kind, 'reject');
  assert.equal(policy.count, 3);
  assert.equal(told.length, 1);
  assert.equal((told[0] as { code: string }).code, 'TRAFFIC_LOOP');
});

describe('the self-test', () => {
  /** Gives routes as `ip -j route get fibmatch` does, by address and mark. */
  const runner = (routes: Record<string, { dst: string; dev: string }>): NetRunner => ({
    ip: async (args) => {
      const at = args.indexOf('fibmatch');
      const key = `${args[at + 1]}${args.includes('mark') ? ' marked' : ''}`;
      const route = routes[key];
      if (route === undefined)
        throw new NetproxyError('IP_COMMAND_FAILED', 'running "ip route": unreachable');
      return JSON.stringify([route]);
    },
    nft: async () => '',
    proc: async () => undefined,
  });
  const up = { dst: 'default', dev: 'eth0' };
  const tun = { dst: 'default', dev: 'tun0' };
  const link = { dst: '198.51.100.0/24', dev: 'eth0' };

  test('passes when only marked packets leave by the uplink', async () => {
    const good = runner({ '10.9.9.9 marked': up, '10.9.9.9': tun, '203.0.113.1': tun });
    const { reached, warnings } = await proveRoutes(['10.9.9.9'], 'tun0', good);
    assert.deepEqual([...reached], [['10.9.9.9', 'eth0']]);
    assert.deepEqual(warnings, []);
  });

  test('passes for a bastion on the link, where a network that is nobody-s shows the rest', async () => {
    const good = { '198.51.100.1 marked': link, '198.51.100.1': link };
    await proveRoutes(['198.51.100.1'], 'tun0', runner({ ...good, '203.0.113.1': tun }));
    await assert.rejects(proveRoutes(['198.51.100.1'], 'tun0', runner({ ...good, '203.0.113.1': up })), {
      code: 'TRAFFIC_NOT_CAPTURED',
    });
  });

  test('refuses own packets in the tunnel, and others beside it', async () => {
    await assert.rejects(proveRoutes(['10.9.9.9'], 'tun0', runner({ '10.9.9.9 marked': tun })), {
      code: 'OWN_TRAFFIC_CAPTURED',
    });
    const open = runner({ '10.9.9.9 marked': up, '10.9.9.9': up });
    await assert.rejects(proveRoutes(['10.9.9.9'], 'tun0', open), { code: 'TRAFFIC_NOT_CAPTURED' });
    const six = runner({ '2001:db8::1': up });
    await assert.rejects(proveRoutes([], 'tun0', six), { code: 'TRAFFIC_NOT_CAPTURED' });
  });

  test('tells of an address that there is no way to', async () => {
    const { warnings } = await proveRoutes(['2001:db8:9::1'], 'tun0', runner({}));
    assert.match(
      warnings.join(),
      /no way to the bastion's address 2001:db8:9::1 beside the tunnel: unreachable/,
    );
  });
});

describe('the addresses of a bastion', () => {
  test('are asked for again when they are old, and hold while nothing newer is found', async (t) => {
    t.mock.method(performance, 'now', () => now);
    let now = 0;
    const answers: (string[] | Error)[] = [['10.0.0.1'], new Error('no answer'), ['10.0.0.2', '10.0.0.1']];
    const changed: (readonly string[])[] = [];
    const addresses = new Addresses(
      'bastion.test',
      22,
      async () => {
        const answer = answers.shift();
        if (answer === undefined || answer instanceof Error) throw answer ?? new Error('asked too often');
        return { addresses: answer, ttl: 30 };
      },
      (fresh) => changed.push(fresh),
    );
    const known = async (): Promise<string[]> => (await addresses.get()).map(({ address }) => address);
    assert.deepEqual(await known(), ['10.0.0.1']);
    now = 29_000;
    assert.deepEqual(await known(), ['10.0.0.1']);
    now = 31_000;
    assert.deepEqual(await known(), ['10.0.0.1'], 'the answer failed');
    assert.deepEqual(await known(), ['10.0.0.2', '10.0.0.1']);
    assert.deepEqual(changed, [['10.0.0.2']]);
  });

  test('of a name that never had any are an error that says why', async () => {
    const fails = new Addresses(
      'nosuch.test',
      22,
      () => Promise.reject(new Error('NXDOMAIN')),
      () => {},
    );
    assert.match((await fails.resolve())?.message ?? '', /nosuch\.test has no address: NXDOMAIN/);
  });
});
