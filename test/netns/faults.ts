/** The faults of docs/reliability.md, by the first column of its table. */
import { once } from 'node:events';
import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LAB, waitFor, waitForPort } from '../lab/namespaces.ts';
import { makeKey } from '../lab/sshd.ts';
import { PORTS } from './ports.ts';
import type { World } from './world.ts';

export interface Fault {
  /** Lines for sshd_config. */
  readonly config?: readonly string[];
  readonly flags?: readonly string[];
  /** Milliseconds between the writes of the connection that is open; by default it sends nothing. */
  readonly sendEveryMs?: number;
  /** What is connected to meanwhile; by default a target that works. */
  readonly address?: string;
  readonly port?: number;
  begin(world: World): Promise<void>;
  end(world: World): Promise<void>;
}

async function signal(world: World, name: NodeJS.Signals): Promise<void> {
  for (const pid of await world.lab.bastion.pids()) {
    try {
      process.kill(pid, name);
    } catch {
      // It ended on its own.
    }
  }
}

async function dropAll(world: World): Promise<void> {
  const chains = ['input', 'output'].map(
    (hook) => `chain ${hook} { type filter hook ${hook} priority 0; ${hook[0]}ifname "lan0" drop; }`,
  );
  await world.lab.bastion.run(['nft', '-f', '-'], { input: `table inet fault {\n${chains.join('\n')}\n}\n` });
}

async function passAll(world: World): Promise<void> {
  await world.lab.bastion.run(['nft', 'delete', 'table', 'inet', 'fault']);
}

/** Undoes a fault of the world that has one. */
const undo = new WeakMap<World, () => void | Promise<void>>();
const undone = async (world: World): Promise<void> => await undo.get(world)?.();

/** In the place of sshd: a server that accepts, says `words`, and then nothing. */
async function mute(world: World, words: string): Promise<void> {
  const { sshd, lab } = world;
  await sshd.halt();
  const script = `require('net').createServer((s) => { s.on('error', () => {}); s.write(${JSON.stringify(words)}); }).listen(${sshd.port}, '${LAB.bastion.v4}')`;
  const child = lab.bastion.spawn([process.execPath, '-e', script], { stdio: 'ignore' });
  await waitForPort(lab.bastion, sshd.port);
  undo.set(world, async () => {
    child.kill('SIGKILL');
    await waitFor('the end of the server', () => child.signalCode !== null);
    await sshd.start();
  });
}

/** The process that serves the connection of netproxy. */
async function sessionPid(world: World): Promise<number> {
  const { stdout } = await world.lab.bastion.run([
    'ss',
    '-Htnp',
    'state',
    'established',
    `sport = :${world.sshd.port}`,
  ]);
  return Number([...stdout.matchAll(/pid=(\d+)/g)].at(-1)?.[1]);
}

/** The address that nobody has gets an owner. */
async function awaken(world: World): Promise<void> {
  await world.lab.target.ip(`addr add ${LAB.silent.v4}/24 dev eth0`);
  await world.lab.bastion.ip(`neigh del ${LAB.silent.v4} dev far0`);
}

/** Lines at the end of sshd_config; of these keywords the last one holds. */
const LAST_HOLDS = 'MaxStartups 1:100:1\n';

export const FAULTS: Readonly<Record<string, Fault>> = {
  'sshd is killed': {
    begin: ({ sshd }) => sshd.halt(),
    end: ({ sshd }) => sshd.start(),
  },
  'sshd restarts': {
    begin: async ({ sshd }) => {
      await sshd.halt();
      await sleep(2000);
    },
    end: ({ sshd }) => sshd.start(),
  },
  'the connection to sshd is cut': {
    begin: async ({ sshd }) => sshd.dropConnections(),
    end: async () => {},
  },
  'sshd is stopped (SIGSTOP)': {
    begin: (world) => signal(world, 'SIGSTOP'),
    end: (world) => signal(world, 'SIGCONT'),
  },
  'the link to the bastion is down': {
    begin: ({ lab }) => lab.bastion.ip('link set port0 down'),
    end: ({ lab }) => lab.bastion.ip('link set port0 up'),
  },
  'all packets are lost': { begin: dropAll, end: passAll },
  'all packets are lost while data is sent': { sendEveryMs: 50, begin: dropAll, end: passAll },
  'a server answers in the place of sshd, and says nothing': {
    begin: (world) => mute(world, ''),
    end: undone,
  },
  'the server hangs in the key exchange': {
    begin: (world) => mute(world, 'SSH-2.0-OpenSSH_9.2p1\r\n'),
    end: undone,
  },
  'sshd is slow: it runs for 50 of each 250 ms': {
    sendEveryMs: 50,
    begin: async (world) => {
      const pulses = new AbortController();
      const pulsing = (async (): Promise<void> => {
        while (!pulses.signal.aborted && world.sshd.pid !== undefined) {
          await signal(world, 'SIGSTOP');
          await sleep(200);
          await signal(world, 'SIGCONT');
          await sleep(50);
        }
      })();
      undo.set(world, async () => {
        pulses.abort();
        await pulsing;
      });
      await sleep(5000);
    },
    end: undone,
  },
  'the host key is another one after a restart': {
    begin: async (world) => {
      const { sshd } = world;
      const files = [sshd.hostKeyFile, `${sshd.hostKeyFile}.pub`];
      const before = files.map((file) => readFileSync(file));
      const put = async (): Promise<void> => {
        await sshd.halt();
        for (const [index, file] of files.entries()) writeFileSync(file, before[index]!);
        await sshd.start();
      };
      undo.set(world, put);
      await sshd.halt();
      for (const file of files) rmSync(file);
      await makeKey(sshd.hostKeyFile);
      await sshd.start();
    },
    end: undone,
  },
  'our key is no longer allowed, on the connection in use': {
    begin: async (world) => {
      const file = world.sshd.authorizedKeysFile;
      const keys = readFileSync(file);
      undo.set(world, () => writeFileSync(file, keys));
      writeFileSync(file, '\n');
    },
    end: undone,
  },
  'our key is no longer allowed, and the connection is cut': {
    begin: async (world) => {
      const file = world.sshd.authorizedKeysFile;
      const keys = readFileSync(file);
      undo.set(world, () => writeFileSync(file, keys));
      writeFileSync(file, '\n');
      world.sshd.dropConnections();
    },
    end: undone,
  },
  'sshd forbids the target (PermitOpen), until its configuration changes and it restarts': {
    config: [`PermitOpen ${LAB.target.v4}:${PORTS.echo}`],
    port: PORTS.digest,
    begin: async () => {},
    end: async ({ sshd }) => {
      const config = readFileSync(sshd.configFile, 'utf8');
      writeFileSync(sshd.configFile, config.replace(/^PermitOpen.*$/m, ''));
      await sshd.restart();
    },
  },
  'sshd forbids the target, which is an IPv6 address': {
    config: [`PermitOpen ${LAB.target.v4}:${PORTS.echo}`],
    address: LAB.target.v6,
    begin: async () => {},
    end: async ({ sshd }) => {
      const config = readFileSync(sshd.configFile, 'utf8');
      writeFileSync(sshd.configFile, config.replace(/^PermitOpen.*$/m, ''));
      await sshd.restart();
    },
  },
  'sshd restarts, and takes no more connections (MaxStartups)': {
    begin: async (world) => {
      const { sshd, lab } = world;
      await sshd.halt();
      appendFileSync(sshd.configFile, LAST_HOLDS);
      // So that the place is taken before netproxy comes.
      await dropAll(world);
      await sshd.start();
      const hold = `until exec 3<>/dev/tcp/${LAB.bastion.v4}/${sshd.port} && read -ru 3 words && [[ $words == SSH-* ]]; do sleep 0.05; done; echo held; sleep 600`;
      const squatter = lab.bastion.spawn(['bash', '--norc', '-c', hold], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      undo.set(world, () => void squatter.kill('SIGKILL'));
      await once(squatter.stdout!, 'data');
      await passAll(world);
    },
    end: undone,
  },
  'sshd has no file descriptor left': {
    sendEveryMs: 100,
    begin: async (world) => {
      const pid = await sessionPid(world);
      const limit = async (count: number): Promise<void> => {
        await world.lab.bastion.run(['prlimit', `--pid=${pid}`, `--nofile=${count}:1024`]);
      };
      undo.set(world, () => limit(1024));
      // From the first number that is free on, none can be had.
      const used = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
      await limit(Math.min(...[...used].map((fd) => fd + 1).filter((fd) => !used.has(fd))));
    },
    end: undone,
  },
  'the target answers nothing': {
    address: LAB.silent.v4,
    begin: async () => {},
    end: awaken,
  },
  'the target has left five connects unanswered': {
    flags: ['--dial-timeout', '2s'],
    address: LAB.silent.v4,
    begin: async (world) => {
      const connects = Array.from({ length: 5 }, () => world.client('connect', LAB.silent.v4, PORTS.echo));
      await Promise.all(connects);
    },
    end: awaken,
  },
};
