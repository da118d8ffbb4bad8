/** A namespace stays taken over, whatever somebody else changes in it while netproxy runs. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { planTakeOver } from '../../src/netns/takeover.ts';
import { LAB, countLeaks, waitFor } from '../lab/namespaces.ts';
import { PORTS } from './ports.ts';
import { INPUT, connectErrno, runnerIn } from './routes-lab.ts';
import { World } from './world.ts';
import type { Netproxy } from './world.ts';

/** Milliseconds. One second is what is promised; a machine in trouble is given more. */
const DEADLINE_MS = 20_000;

describe('what somebody changes is put right', () => {
  let world: World;
  let netproxy: Netproxy;
  before(async () => {
    world = await World.create();
    netproxy = world.netproxy();
    await netproxy.ready();
  });
  after(async () => {
    await netproxy.stop();
    await world.close();
  });

  const changes: Record<string, readonly string[]> = {
    'the default by the TUN is removed': ['ip route del default dev tun0'],
    'the IPv6 default by the TUN is removed': ['ip -6 route del default dev tun0'],
    'a default by the uplink is put first': [
      `ip route del default dev tun0`,
      `ip route add default via ${LAB.bastion.v4}`,
    ],
    'the guard and the end rule go': ['ip route del throw default', 'ip rule del pref 32766 unreachable'],
    'all rules of ours go': ['ip rule del pref 10', 'ip rule del pref 11', 'ip -6 rule del pref 10'],
    'the table of the uplinks is emptied': ['ip route flush table 28272', 'ip -6 route flush table 28272'],
    'the TUN is set down': ['ip link set tun0 down'],
    'the TUN loses its address': ['ip addr flush dev tun0'],
    'our table of nftables is deleted': ['nft delete table inet netproxy'],
    'those that redirect questions are deleted': [
      'nft delete table ip netproxy_dns',
      'nft delete table ip6 netproxy_dns',
    ],
    'one chain of it is emptied': ['nft flush chain inet netproxy egress'],
    'everything of nftables is flushed': ['nft flush ruleset'],
    'the table is made dormant': ["nft 'add table inet netproxy { flags dormant; }'"],
    'the uplink gets another address': [
      `ip -4 addr flush dev eth0`,
      `ip addr add 192.0.2.44/24 dev eth0`,
      // As DHCP does: the kernel has dropped every route that named the old address.
      `ip route add default via ${LAB.bastion.v4} metric 100`,
    ],
    'the uplink gets its old address back': [
      `ip -4 addr flush dev eth0`,
      `ip addr add ${LAB.app.v4}/24 dev eth0`,
      `ip route add default via ${LAB.bastion.v4} metric 100`,
    ],
  };
  for (const [name, commands] of Object.entries(changes)) {
    test(name, async () => {
      const runner = runnerIn(world.lab.app);
      await world.lab.app.run(['sh', '-ec', commands.join('\n')]);
      await waitFor(
        'a namespace in which nothing is left to do',
        async () => (await planTakeOver(INPUT, runner)).length === 0,
        DEADLINE_MS,
      );
      const { count, lines } = await countLeaks(
        world.lab.app,
        'eth0',
        async () => {
          // Through the tunnel again: the target refuses, which only somebody who reached it can tell.
          await waitFor(
            'a connect through the bastion',
            async () => (await connectErrno(world.lab.app, LAB.target.v4, 3000)) === 'ECONNREFUSED',
            DEADLINE_MS,
          );
        },
        `not arp and not icmp6 and not (ip6 dst net ff02::/16) and not (tcp port ${world.sshd.port})`,
      );
      assert.equal(count, 0, lines.join('\n'));
    });
  }

  test('the log says so, and names commands that a person understands', () => {
    assert.match(netproxy.stderr, /was changed by somebody; \d+ steps? put it right/);
    assert.match(netproxy.stderr, /ip -4 route replace default dev tun0/);
  });

  test('nothing that netproxy itself does keeps it busy', async () => {
    const told = (): number => netproxy.stderr.match(/changed by somebody/g)?.length ?? 0;
    const pause = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 1000));
    let before = -1;
    await waitFor(
      'the last repair',
      async () => {
        before = told();
        await pause();
        return told() === before;
      },
      DEADLINE_MS,
    );
    await world.client('connect', LAB.target.v4, PORTS.echo);
    await pause();
    assert.equal(told(), before, netproxy.stderr);
  });
});

describe('without a filter', () => {
  test('it runs and says what is weaker, and with "strict" it does not start', async () => {
    const world = await World.create();
    try {
      const only = await onlyIp(world);
      const strict = await world.refused([...world.flags, '--strict', 'true'], {
        env: { PATH: only },
      });
      assert.equal(strict.code, 1);
      assert.match(strict.stderr, /NFT_UNUSABLE/);
      const netproxy = world.bare(world.flags, { PATH: only });
      await netproxy.ready();
      assert.match(
        netproxy.stderr,
        /there is no filter beside the routes \(there is no command \\"nft\\" in PATH\)/,
      );
      await world.client('connect', LAB.target.v4, PORTS.echo);
      await netproxy.stop();
    } finally {
      await world.close();
    }
  });
});

describe('where the kernel cannot redirect', () => {
  test('the filter stands, the log says what is weaker, and with "strict" nothing is changed', async () => {
    const world = await World.create();
    try {
      const { app } = world.lab;
      const before = await app.routes();
      const path = `${await withoutNat(world)}:${process.env['PATH']}`;
      const strict = await world.refused([...world.flags, '--strict', 'true'], { env: { PATH: path } });
      assert.equal(strict.code, 1);
      assert.match(strict.stderr, /NFT_UNUSABLE: .*"strict" is set: .*Operation not supported/);
      assert.doesNotMatch(await app.routes(), /netproxy|tun0/);
      assert.equal(await app.routes(), before);

      const netproxy = world.bare(world.flags, { PATH: path });
      await netproxy.ready();
      for (const family of [4, 6])
        assert.match(
          netproxy.stderr,
          new RegExp(`nothing can be redirected by nftables here, for IPv${family} .*asked past netproxy`),
        );
      const routes = await app.routes();
      assert.match(routes, /table inet netproxy \{[^]*chain egress/);
      assert.doesNotMatch(routes, /netproxy_dns/);
      // It keeps in by itself what somebody leads to the uplink.
      await netproxy.stop('SIGKILL');
      await app.run(['ip', 'route', 'replace', 'default', 'via', LAB.bastion.v4, 'dev', 'eth0']);
      const { count, lines } = await countLeaks(
        app,
        'eth0',
        async () => assert.notEqual(await connectErrno(app, LAB.target.v4, 3000), 'open'),
        `host ${LAB.target.v4}`,
      );
      assert.equal(count, 0, lines.join('\n'));
    } finally {
      await world.close();
    }
  });
});

/** A folder with an `nft` that does to chains of type nat as a kernel does that has none. */
async function withoutNat(world: World): Promise<string> {
  const nft = (await world.lab.app.run(['sh', '-c', 'command -v nft'])).stdout.trim();
  const script = `#!/bin/sh
script=$(cat)
case "$script" in *"type nat"*) echo "Error: Could not process rule: Operation not supported" >&2; exit 1; esac
printf '%s\\n' "$script" | exec ${nft} "$@"
`;
  const { stdout } = await world.lab.app.run(
    ['sh', '-c', 'd=$(mktemp -d) && cat > "$d/nft" && chmod +x "$d/nft" && echo "$d"'],
    { input: script },
  );
  return stdout.trim();
}

/** A folder with nothing in it but `ip`, and what the lab starts it by. */
async function onlyIp(world: World): Promise<string> {
  const { stdout } = await world.lab.app.run([
    'sh',
    '-c',
    'd=$(mktemp -d) && ln -s "$(command -v ip)" "$(command -v nsenter)" "$d" && echo "$d"',
  ]);
  return stdout.trim();
}
