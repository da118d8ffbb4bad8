/**
 * npm run bench -- [--rounds N] [--seconds S] [--only NAME,...] [--rivals NAME,...|all|none] [--install]
 *                  [--program NAME=PATH]... [--json FILE] [--force]
 *
 * Measures netproxy against `ssh -L` side by side, and what else is installed: same sshd, same cipher,
 * rounds interleaved, medians. Writes bench/results/latest.json and latest.md. docs/benchmark.md tells more.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createLab, LAB } from '../test/lab/namespaces.ts';
import type { Lab } from '../test/lab/namespaces.ts';
import { startSshd } from '../test/lab/sshd.ts';
import type { Sshd } from '../test/lab/sshd.ts';
import type { Measurement, Phase } from './figures.ts';
import { MEASUREMENTS, RTT_MS } from './figures.ts';
import type { Load } from './load.ts';
import { buildPrograms, PORTS, serve } from './load.ts';
import { markdown, rows } from './report.ts';
import type { Sample } from './report.ts';
import { install, rivals, useProgram } from './rivals.ts';
import { CIPHER } from './running.ts';
import type { Door, Running, Subject } from './running.ts';
import { localHalf, SUBJECTS } from './subjects.ts';

/** Above this share of the processors in use before the start, figures say more about the neighbours. */
const LOAD_MAX = 0.25;
const RELAY_PORT = 2223;
/**
 * Closed connections that may wait in TIME-WAIT in a namespace. A round of `rate` leaves more than half of
 * all local ports there for a minute, and the next would measure how long the kernel looks for a free one.
 */
const TIME_WAITS = 256;
const RESULTS = join(import.meta.dirname, 'results');
const PHASES: readonly Phase[] = ['warm', 'fresh', 'local', 'rtt20', 'rtt100'];

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    rivals: { type: 'string', default: 'all' },
    install: { type: 'boolean', default: false },
    program: { type: 'string', multiple: true, default: [] },
    json: { type: 'string' },
    force: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const seconds = Number(options.seconds);
const only = options.only.split(',').filter(Boolean);
const unknown = only.filter((name) => !MEASUREMENTS.some((measurement) => measurement.name === name));
if (!(rounds >= 1) || !(seconds > 0) || unknown.length > 0) {
  const known = MEASUREMENTS.map(({ name }) => name).join(', ');
  usage(`--rounds is a number from 1, --seconds one above 0, --only names of: ${known}.`);
}
for (const text of options.program) {
  const [, name = '', path = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!rivals.some((rival) => rival.name === name))
    usage(`--program is NAME=PATH, NAME one of: ${names(rivals)}.`);
  useProgram(name, path);
}
if (options.install) install();
const chosen = { all: names(rivals), none: '' }[options.rivals] ?? options.rivals;
const wantedRivals = chosen.split(',').filter(Boolean);
if (wantedRivals.some((name) => !rivals.some((rival) => rival.name === name))) {
  usage(`--rivals is all, none or names of: ${names(rivals)}.`);
}
const others = rivals.filter(({ name }) => wantedRivals.includes(name));
const absent = others.map((rival) => rival.absent?.()).filter((reason) => reason !== undefined);
const presentRivals = others.filter((rival) => rival.absent?.() === undefined);

const busy = os.loadavg()[0]! / os.availableParallelism();
if (busy > LOAD_MAX && !options.force) {
  console.error(
    `The machine is busy: load average ${os.loadavg()[0]!.toFixed(2)} on ${os.availableParallelism()} processors. ` +
      'Wait, or give --force to measure all the same.',
  );
  process.exit(1);
}

function names(subjects: readonly Subject[]): string {
  return subjects.map(({ name }) => name).join(',');
}

function usage(text: string): never {
  console.error(text);
  process.exit(64);
}

const samples: Sample[] = [];
const troubles: string[] = [];

buildPrograms();
const lab = await createLab({ other: true });
for (const namespace of [lab.app, lab.other, lab.bastion, lab.target]) {
  await namespace.run(['sh', '-c', `echo ${TIME_WAITS} > /proc/sys/net/ipv4/tcp_max_tw_buckets`]);
}
const sshd = await startSshd({
  netns: lab.bastion.name,
  address: LAB.bastion.v4,
  config: [`Ciphers ${CIPHER}`],
});
const target = await serve(lab.target, ['serve', LAB.target.v4, PORTS.sink]);
try {
  for (const phase of PHASES) {
    const wanted = MEASUREMENTS.filter(
      (measurement) => measurement.phase === phase && (only.length === 0 || only.includes(measurement.name)),
    );
    if (wanted.length > 0) await runPhase(lab, sshd, phase, wanted);
  }
} finally {
  await target.end('SIGTERM');
  await sshd.stop();
  await lab.cleanup();
}
writeResults();
process.exitCode = troubles.length > 0 ? 1 : 0;

async function runPhase(
  lab: Lab,
  sshd: Sshd,
  phase: Phase,
  measurements: readonly Measurement[],
): Promise<void> {
  let relay: Load | undefined;
  let door: Door = { lab, host: lab.app, sshd, port: sshd.port };
  if (RTT_MS[phase] > 0) {
    const listen = [LAB.bastion.v4, RELAY_PORT];
    relay = await serve(lab.bastion, ['relay', ...listen, sshd.address, sshd.port, RTT_MS[phase] / 2]);
    door = { ...door, port: RELAY_PORT };
  }
  // netproxy leaves its namespace closed to other devices: the local half has one of its own.
  const own = phase === 'local' ? lab.other : lab.app;
  const present = phase === 'local' ? [localHalf] : SUBJECTS;
  const beside = phase === 'local' ? [] : presentRivals;
  const warm = new Map<Subject, Running>();
  const start = async (subject: Subject, host = own): Promise<Running | undefined> => {
    try {
      return await subject.start({ ...door, host });
    } catch (error) {
      note(`${subject.name} did not start (${phase}): ${(error as Error).message}`);
      return undefined;
    }
  };
  try {
    if (phase !== 'fresh') {
      for (const subject of present) {
        const running = await start(subject);
        if (running !== undefined) warm.set(subject, running);
      }
    }
    for (let round = 1; round <= rounds; round++) {
      // Who goes first changes from round to round, so that a drift of the machine hits both.
      const order = round % 2 === 1 ? present : present.toReversed();
      for (const measurement of measurements) {
        for (const subject of order) {
          const running = phase === 'fresh' ? await start(subject) : warm.get(subject);
          if (running === undefined) continue;
          await take(measurement, subject, running, round);
          if (phase === 'fresh') await running.stop();
        }
        // All capture the same target, so that only one can be there at a time.
        for (const rival of beside) {
          const running = await start(rival, lab.other);
          if (running === undefined) continue;
          await take(measurement, rival, running, round);
          await running.stop();
        }
      }
    }
  } finally {
    for (const running of warm.values()) await running.stop();
    await relay?.end('SIGTERM');
  }
}

async function take(
  measurement: Measurement,
  subject: Subject,
  running: Running,
  round: number,
): Promise<void> {
  try {
    const values = await measurement.run({ running, seconds });
    samples.push({ subject: subject.name, round, values });
    const text = Object.entries(values).map(([id, value]) => `${id} ${value.toPrecision(4)}`);
    console.log(`${String(round).padStart(2)}  ${subject.name.padEnd(17)}  ${text.join('  ')}`);
  } catch (error) {
    note(`${measurement.name} of ${subject.name}, round ${round}: ${(error as Error).message}`);
  }
}

function note(text: string): void {
  troubles.push(text);
  console.error(`!   ${text}`);
}

function writeResults(): void {
  const subjects = [...SUBJECTS, ...presentRivals].map(({ name }) => name);
  const table = rows(samples, subjects);
  const about = {
    date: new Date().toISOString(),
    processor: os.cpus()[0]?.model ?? 'unknown',
    processors: os.availableParallelism(),
    kernel: os.release(),
    node: process.version,
    cipher: CIPHER,
    rounds,
    seconds,
    loadBefore: busy,
  };
  const notes = [
    `${about.date}, ${about.processors} x ${about.processor}, Linux ${about.kernel}, Node ${about.node}`,
    `medians of ${rounds} rounds of ${seconds} s, interleaved; cipher ${CIPHER} for all`,
    ...(absent.length > 0 ? [`not measured: ${absent.join(', ')}`] : []),
    ...troubles,
  ];
  const text = markdown(table, subjects, notes);
  console.log(`\n${text}`);
  mkdirSync(RESULTS, { recursive: true });
  const json = `${JSON.stringify({ about, rows: table, samples, troubles }, undefined, 1)}\n`;
  writeFileSync(join(RESULTS, 'latest.json'), json);
  writeFileSync(join(RESULTS, 'latest.md'), text);
  if (options.json !== undefined) writeFileSync(options.json, json);
}
