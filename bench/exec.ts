/**
 * npm run bench:exec -- [--rounds N] [--program DIST/main.js]
 *
 * From the start of `netproxy exec` to that of its command, beside what `ssh` takes from its own start until it has
 * logged in, when it runs the same command here (LocalCommand, ssh_config(5)). Rounds alternate, and medians count.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createLab, LAB } from '../test/lab/namespaces.ts';
import { startSshd } from '../test/lab/sshd.ts';
import { sshArguments, destination } from './running.ts';

/** Tells when it has started, in nanoseconds since 1970. */
const COMMAND = ['date', '+%s%N'];
const MS_PER_NS = 1e-6;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    program: { type: 'string', default: resolve(import.meta.dirname, '../dist/main.js') },
  },
});

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const lab = await createLab();
const sshd = await startSshd({ netns: lab.bastion.name, address: LAB.bastion.v4 });
try {
  const door = { lab, host: lab.app, sshd, port: sshd.port };
  const subjects = {
    ssh: [
      ...[...sshArguments(door), '-n', '-N', '-o', 'PermitLocalCommand=yes'],
      // A percent sign is doubled there.
      ...['-o', `LocalCommand=${COMMAND.join(' ').replaceAll('%', '%%')}; kill $PPID`, destination(door)],
    ],
    exec: [
      ...[process.execPath, options.program, 'exec', '--identity', sshd.clientKeyFile],
      ...['--bastion', `ssh://${sshd.user}@${LAB.bastion.v4}:${sshd.port}`],
      ...['--known-hosts', sshd.knownHostsFile, '--', ...COMMAND],
    ],
  };
  /** Milliseconds until the command has started. */
  const measure = async (argv: readonly string[]): Promise<number> => {
    const started = performance.timeOrigin + performance.now();
    const { stdout } = await lab.app.run(argv, { mayFail: true });
    return Number(stdout) * MS_PER_NS - started;
  };
  const rounds: { ssh: number; exec: number }[] = [];
  // The first one fills the caches of files.
  for (let round = 0; round <= Number(options.rounds); round++) {
    const ssh = await measure(subjects.ssh);
    const exec = await measure(subjects.exec);
    if (round > 0) rounds.push({ ssh, exec });
  }
  const tell = (name: string, values: readonly number[]): void => {
    const [low, middle, high] = [Math.min(...values), median(values), Math.max(...values)].map(Math.round);
    console.log(`${name.padEnd(30)} median ${middle} ms (${low} to ${high})`);
  };
  tell(
    'ssh, to the login',
    rounds.map(({ ssh }) => ssh),
  );
  tell(
    'netproxy exec, to the command',
    rounds.map(({ exec }) => exec),
  );
  tell(
    'beside the handshake',
    rounds.map(({ ssh, exec }) => exec - ssh),
  );
} finally {
  await sshd.stop();
  await lab.cleanup();
}
