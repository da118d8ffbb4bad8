/** The ways in which DHCP, a container engine or a CNI plugin changes the uplink beneath a running netproxy. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { planTakeOver } from '../../src/netns/takeover.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { INPUT, addTun, connectErrno, runnerIn } from './routes-lab.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

const DEADLINE_MS = 20_000;
const UPLINKS = '28272';
const GATEWAY = '192.0.2.254';

describe('beneath a running netproxy', () => {
  let world: World;
  let netproxy: Netproxy;
  before(async () => {
    world = await World.create();
    await world.lab.bastion.ip(`addr add ${GATEWAY}/24 dev lan0`);
    netproxy = world.netproxy();
    await netproxy.ready();
  });
  after(async () => {
    await netproxy.stop();
    await world.close();
  });

  const uplinks = async (family: 4 | 6): Promise<string> => {
    const { stdout } = await world.lab.app.run(['ip', `-${family}`, 'route', 'show', 'table', UPLINKS]);
    return stdout;
  };
  /** Waits until the table of the uplinks says so, nothing is left to do, and the bastion is reached again. */
  const settled = async (family: 4 | 6, words: RegExp, present = true): Promise<void> => {
    const runner = runnerIn(world.lab.app);
    await waitFor(
      `${words} among the uplinks`,
      async () => words.test(await uplinks(family)) === present,
      DEADLINE_MS,
    );
    await waitFor('nothing to do', async () => (await planTakeOver(INPUT, runner)).length === 0, DEADLINE_MS);
    for (const address of [LAB.target.v4, LAB.target.v6])
      await waitFor(
        `the bastion to refuse in the name of ${address}`,
        async () => (await connectErrno(world.lab.app, address, 3000)) === 'ECONNREFUSED',
        DEADLINE_MS,
      );
  };

  test('the default leads by another gateway, at the metric of the TUN', async () => {
    await world.lab.app.ip(`route replace default via ${GATEWAY} dev eth0`);
    await settled(4, new RegExp(`^default via ${GATEWAY} dev eth0`));
  });

  test('it leads by two gateways at once', async () => {
    await world.lab.app.ip(
      `route add default metric 20 nexthop via ${GATEWAY} dev eth0 nexthop via ${LAB.bastion.v4} dev eth0 weight 2`,
    );
    await settled(4, /default metric 20 *\n\s+nexthop via 192\.0\.2\.254 dev eth0 weight 1/);
  });

  test('it leads by a gateway that is on no network of the device', async () => {
    await world.lab.bastion.ip('addr add 10.255.0.1/32 dev lan0');
    await world.lab.app.ip('route add default via 10.255.0.1 dev eth0 metric 30 onlink');
    await settled(4, /default via 10\.255\.0\.1 dev eth0 metric 30 onlink/);
  });

  test('a router advertises itself, and leaves', async () => {
    const advertise = (seconds: number): Promise<unknown> =>
      world.lab.bastion.run([
        'python3',
        '-c',
        `
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
index = socket.if_nametoindex('lan0')
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
s.sendto(struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, ${seconds}, 0, 0), ('ff02::1', 0, 0, index))`,
      ]);
    await advertise(600);
    await settled(6, /default via fe80::[0-9a-f:]+ dev eth0 proto ra/);
    // The kernel keeps it in main, where the guard hides it.
    const { stdout } = await world.lab.app.run(['ip', '-6', 'route', 'get', '2001:db8:99::7']);
    assert.match(stdout, / dev tun0 /);
    await advertise(0);
    await settled(6, / proto ra /, false);
  });

  test('its device is deleted, and another one takes its place', async () => {
    const { app, bastion } = world.lab;
    await app.ip('link del eth0');
    await bastion.ip(
      `link add port9 type veth peer name net1 netns ${app.name}`,
      'link set port9 master lan0 up',
    );
    await app.ip(
      'link set net1 up',
      `addr add ${LAB.app.v4}/24 dev net1`,
      `addr add ${LAB.app.v6}/64 dev net1 nodad`,
    );
    await app.ip(`route add default via ${LAB.bastion.v4} dev net1 metric 100`);
    await settled(4, /^default via 192\.0\.2\.1 dev net1 metric 100 *\n(?!.* dev eth0)/);
    const { stdout } = await app.run(['ip', 'rule']);
    assert.match(stdout, /oif net1 lookup 28274/);
    assert.doesNotMatch(stdout, /eth0/);
  });
});

describe('by hand', () => {
  let world: World;
  before(async () => {
    world = await World.create({ sshd: false });
  });
  after(() => world.close());

  const ipLines = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('ip '));
  const PLAN = `ip link set dev tun0 addrgenmode none
ip link set dev tun0 mtu 1500 txqueuelen 10000 group 28272
ip addr add 198.18.0.1/30 dev tun0
ip addr add fd6e:7072::1/126 dev tun0 nodad
ip link set dev tun0 up
ip -4 rule add pref 32766 unreachable protocol 110
ip -4 route replace table 28272 unreachable default metric 4278198272 proto 110
ip -4 route add table 28272 default via 192.0.2.1 dev eth0 proto 3 scope 0
ip -4 rule add pref 10 fwmark 0x6e70/0xfffffffe lookup 254 suppress_prefixlength 0 protocol 110
ip -4 rule add pref 11 fwmark 0x6e70/0xfffffffe lookup 28272 protocol 110
ip -4 route replace table 28274 local default dev eth0 metric INDEX proto 110
ip -4 rule add pref 32763 oif eth0 lookup 254 suppress_prefixlength 3 protocol 110
ip -4 rule add pref 32764 oif eth0 lookup 28274 protocol 110
ip -4 route replace table 28273 default dev tun0 metric 1 proto 110 src 192.0.2.10
ip -4 rule add pref 15 ipproto 6 dport 53 unreachable protocol 110
ip -4 rule add pref 14 ipproto 6 dport 53 lookup 28273 protocol 110
ip -4 rule add pref 13 ipproto 17 dport 53 unreachable protocol 110
ip -4 rule add pref 12 ipproto 17 dport 53 lookup 28273 protocol 110
ip -4 route replace default dev tun0 metric 0 proto 110 src 192.0.2.10
ip -4 route replace throw default metric 1 proto 110`.split('\n');

  test('the commands of the plan do what a run does, and those of the release put it back', async () => {
    const { app } = world.lab;
    const before = await app.routes();
    const text = await world.command('plan');
    const indexed = (line: string): string => line.replace(/(local default dev eth0 metric) \d+/, '$1 INDEX');
    assert.deepEqual(
      ipLines(text)
        .filter((line) => !line.startsWith('ip -6'))
        .map(indexed),
      PLAN,
    );
    assert.equal(ipLines(text).filter((line) => line.startsWith('ip -6')).length, 16);
    assert.match(text, /^nft 'add table inet netproxy'$/m);
    const { steps } = JSON.parse(await world.command('plan', '--json')) as { steps: { tool: string }[] };
    assert.equal(steps.length, text.trim().split('\n').length);
    assert.equal(await app.routes(), before, 'a plan changes nothing');

    await addTun(app);
    await app.run(['sh', '-e'], { input: text });
    assert.equal(await world.command('plan'), '');

    const undone = await world.command('release');
    assert.match(undone, /^ip -4 route replace default via 192\.0\.2\.1 dev eth0 proto 3 scope 0$/m);
    assert.match(undone, /nft 'delete table inet netproxy'\n$/);
    await app.ip('link del tun0');
    assert.equal(await app.routes(), before);

    // And by the commands that it printed.
    await addTun(app);
    await app.run(['sh', '-e'], { input: text });
    await app.run(['sh', '-e'], { input: undone });
    await app.ip('link del tun0');
    assert.equal(await app.routes(), before);
    assert.equal(await world.command('release'), '');
  });
});
