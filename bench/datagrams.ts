/**
 * npm run bench:udp -- [--rate N,...] [--seconds S] [--size BYTES]
 *
 * Echoes datagrams through the UDP relay, by each interpreter and directly, at each rate, and prints what came back
 * and how long it took. Everything runs on this machine: netproxy, sshd, the relay, the server and the generator.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createLab, LAB } from '../test/lab/namespaces.ts';
import type { Lab } from '../test/lab/namespaces.ts';
import { startSshd } from '../test/lab/sshd.ts';

const main = resolve(import.meta.dirname, '../dist/main.js');
const PROGRAM = join(import.meta.dirname, 'build/datagrams');
const PORT = 7007;
const PLACES = { python3: '/usr/bin/python3', perl: '/usr/bin/perl' } as const;
const WARM_UP_RATE = 1000;
const WARM_UP_S = 1;

const { values: options } = parseArgs({
  options: {
    rate: { type: 'string', default: '5000,20000,40000' },
    seconds: { type: 'string', default: '4' },
    size: { type: 'string', default: '200' },
  },
});

interface Result {
  readonly sent: number;
  readonly received: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

mkdirSync(join(import.meta.dirname, 'build'), { recursive: true });
const source = join(import.meta.dirname, 'datagrams.cc');
execFileSync('g++', ['-std=c++20', '-O2', '-o', PROGRAM, source], { stdio: 'inherit' });

const lab = await createLab();
try {
  await serve(lab.target, LAB.target.v4);
  await serve(lab.bastion, LAB.bastion.far4);
  print('way', 'rate', 'received', 'p50 ms', 'p99 ms');
  await measure(lab, 'python3', 'relay', LAB.target.v4);
  await measure(lab, 'perl', 'relay', LAB.target.v4);
  await measure(lab, 'perl', 'direct', LAB.bastion.far4);
} finally {
  await lab.cleanup();
}

async function serve(where: Lab['target'], address: string): Promise<void> {
  const child = where.spawn([PROGRAM, 'serve', address, String(PORT)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
}

function print(...cells: readonly string[]): void {
  console.log(cells.map((cell, at) => (at === 0 ? cell.padEnd(16) : cell.padStart(10))).join(''));
}

async function measure(
  { app, bastion }: Lab,
  interpreter: keyof typeof PLACES,
  via: 'relay' | 'direct',
  to: string,
): Promise<void> {
  const sshd = await startSshd({ netns: bastion.name, address: LAB.bastion.v4, start: false });
  const tools = join(sshd.directory, 'bin');
  mkdirSync(tools);
  symlinkSync(PLACES[interpreter], join(tools, interpreter));
  appendFileSync(sshd.configFile, `SetEnv PATH=${tools} HOME=${tools}\n`);
  await sshd.start();
  const bastionAt = `ssh://${sshd.user}@${LAB.bastion.v4}:${sshd.port}`;
  const child = app.spawn(
    [
      ...[process.execPath, main, 'run', '--bastion', bastionAt, '--identity', sshd.clientKeyFile],
      ...['--known-hosts', sshd.knownHostsFile, '--rule', `protocol: udp, via: ${via}`],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  try {
    await once(child.stdout!, 'data');
    const send = async (rate: number, seconds: number): Promise<Result> => {
      const args = [PROGRAM, 'send', to, String(PORT), String(rate), options.size, String(seconds)];
      return JSON.parse((await app.run(args)).stdout) as Result;
    };
    await send(WARM_UP_RATE, WARM_UP_S);
    for (const rate of options.rate.split(',').map(Number)) {
      const { sent, received, p50_ms: p50, p99_ms: p99 } = await send(rate, Number(options.seconds));
      const name = via === 'direct' ? via : `relay, ${interpreter}`;
      const share = `${((100 * received) / sent).toFixed(2)} %`;
      print(name, String(rate), share, p50.toFixed(2), p99.toFixed(2));
    }
  } finally {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    await sshd.stop();
  }
}
