/** The faults of the table in docs/security.md: what happens while an application tries every way out. */
import type { Layer } from '../../src/netns/desired.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import type { LeakLab } from './leak-lab.ts';

export interface Fault {
  /** The layer that it takes away; where that is the only one, nothing is left to hold. */
  readonly removes?: Layer;
  /** The device loses its routes, and under the routes alone a socket that is bound to it asks the link. */
  readonly asks?: true;
  /** Begins with a netproxy that is ready, and applications from before it and after it. */
  run(lab: LeakLab): Promise<void>;
}

/** Rounds of the application, of 0.1 s and all its ways each, in which a state is held. */
const ROUNDS = 8;

const hold = (lab: LeakLab): Promise<void> => lab.attempts(ROUNDS);
const shell = async (lab: LeakLab, ...lines: string[]): Promise<void> => {
  await lab.world.lab.app.run(['sh', '-c', lines.join('\n')], { mayFail: true });
};
const saying = async (lab: LeakLab, words: RegExp): Promise<void> => {
  const { netproxy } = lab;
  await waitFor(`the log to say ${words}`, () => words.test(netproxy?.stderr ?? ''), 30_000);
};

export const FAULTS: Readonly<Record<string, Fault>> = {
  'steady load of TCP, UDP, DNS, ICMP, raw and bound sockets': { run: hold },
  'many DNS questions': {
    run: async (lab) => {
      const apps = [await lab.app('dns'), await lab.app('dns'), await lab.app('dns')];
      await hold(lab);
      for (const app of apps) await lab.endApp(app);
    },
  },
  'an inbound connection and a UDP question from beyond the link': {
    run: async (lab) => {
      await lab.ask('tcp');
      await lab.ask('udp');
      await hold(lab);
    },
  },
  'the configuration is read again': {
    run: async (lab) => {
      lab.configure('local: [10.96.0.0/12]');
      lab.netproxy?.child.kill('SIGHUP');
      await saying(lab, /the namespace follows/);
      await hold(lab);
      lab.configure();
      lab.netproxy?.child.kill('SIGHUP');
      await hold(lab);
    },
  },
  'the bastion is lost, and returns': {
    run: async (lab) => {
      await lab.world.sshd.halt();
      await hold(lab);
      await lab.world.sshd.start();
      await hold(lab);
    },
  },
  'the link is down, and up again': {
    asks: true,
    run: async (lab) => {
      await shell(lab, 'ip link set eth0 down');
      await lab.attempts(2);
      // The kernel forgets IPv6 addresses with the link, and every route.
      await shell(lab, 'ip link set eth0 up', `ip addr add ${LAB.app.v6}/64 dev eth0 nodad`);
      await shell(lab, `ip route add default via ${LAB.bastion.v4} metric 100`);
      await shell(lab, `ip -6 route add default via ${LAB.bastion.v6} dev eth0 metric 1024`);
      await hold(lab);
    },
  },
  'the uplink gets another address, and its old one back': {
    asks: true,
    run: async (lab) => {
      for (const address of ['192.0.2.44', LAB.app.v4]) {
        await shell(lab, `ip -4 addr flush dev eth0`, `ip addr add ${address}/24 dev eth0`);
        await shell(lab, `ip route add default via ${LAB.bastion.v4} metric 100`);
        await hold(lab);
      }
    },
  },
  'the default by the TUN is removed by hand': {
    run: async (lab) => {
      await shell(lab, 'ip route del default dev tun0', 'ip -6 route del default dev tun0');
      await hold(lab);
    },
  },
  'all routes and rules of ours are removed by hand, and a default by the uplink is added': {
    removes: 'routes',
    run: async (lab) => {
      const rules = ['10', '11', '32763', '32764', '32766 unreachable'].map(
        (rule) => `ip rule del pref ${rule}`,
      );
      await shell(lab, ...rules, 'ip route del default dev tun0', 'ip route del throw default');
      await shell(lab, `ip route add default via ${LAB.bastion.v4}`);
      await hold(lab);
    },
  },
  'our table of nftables is removed by hand': {
    removes: 'nftables',
    run: async (lab) => {
      await shell(lab, 'nft delete table inet netproxy');
      await hold(lab);
    },
  },
  'the TUN is removed by hand': {
    run: async (lab) => {
      const { netproxy } = lab;
      await shell(lab, 'ip link del tun0');
      await waitFor('its end', () => netproxy?.child.exitCode !== null, 30_000);
      await hold(lab);
    },
  },
  'SIGSTOP, and SIGCONT': {
    run: async (lab) => {
      lab.netproxy?.child.kill('SIGSTOP');
      await hold(lab);
      lab.netproxy?.child.kill('SIGCONT');
      await hold(lab);
    },
  },
  'SIGKILL, and a start': {
    run: async (lab) => {
      await lab.stop('SIGKILL');
      await hold(lab);
      await lab.running();
      await hold(lab);
    },
  },
  'a second netproxy is started, which the first keeps out': {
    run: async (lab) => {
      const first = lab.netproxy;
      const second = lab.start();
      lab.netproxy = first;
      await waitFor('the end of the second', () => second.child.exitCode !== null, 30_000);
      await hold(lab);
    },
  },
  'an upgrade: one stops, and the next starts at once': {
    run: async (lab) => {
      await lab.stop();
      await lab.running();
      await hold(lab);
    },
  },
  'a stop, and a start': {
    run: async (lab) => {
      await lab.stop();
      await hold(lab);
      await lab.running();
    },
  },
};
