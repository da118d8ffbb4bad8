/** The filter of system calls and the loss of privileges, each in a process that is made for it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const addon = fileURLToPath(new URL('../../native/build/Release/netproxy.node', import.meta.url));

/** Runs `body` in a Node of its own, where `native` is the addon and `sh` runs a command; gives what it printed. */
function inProcess(body: string): string {
  const script = `
    const native = require(${JSON.stringify(addon)});
    const { execFileSync } = require('node:child_process');
    const sh = (line) => {
      try { return execFileSync('sh', ['-c', line + ' 2>&1'], { encoding: 'utf8' }); }
      catch (error) { return error.stdout; }
    };
    ${body}`;
  return execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' });
}

const shell = (line: string): string =>
  inProcess(`native.filterSystemCalls(); process.stdout.write(sh(${JSON.stringify(line)}));`);

/** Numbers by processor: ptrace, bpf, keyctl, io_uring_setup, clone, socket. */
const CALLS = { x64: [101, 321, 250, 425, 56, 41], arm64: [117, 280, 219, 425, 220, 198] } as const;
const EPERM = '1';

test('what it refuses fails with EPERM, in what the process starts as well', () => {
  const [ptrace, bpf, keyctl, uring, clone, socket] = CALLS[process.arch as keyof typeof CALLS];
  const calls = {
    ptrace: `${ptrace}, 0, 0, 0, 0`,
    bpf: `${bpf}, 0, 0, 0`,
    keyctl: `${keyctl}, 0, -3, 0`,
    io_uring_setup: `${uring}, 1, 0`,
    // CLONE_NEWUSER and SIGCHLD
    'a user namespace': `${clone}, 0x10000011, 0, 0, 0, 0`,
    AF_ALG: `${socket}, 38, 5, 0`,
    AF_PACKET: `${socket}, 17, 3, 0`,
  };
  // Perl is part of every Debian, and calls the kernel by number.
  const lines = Object.values(calls).map(
    (call) => `$! = 0; print syscall(${call}) == -1 ? $! + 0 : 0, "\\n";`,
  );
  const found = shell(`perl -e '${lines.join(' ')}'`)
    .trim()
    .split('\n');
  assert.deepEqual(Object.fromEntries(Object.keys(calls).map((name, index) => [name, found[index]])), {
    ...Object.fromEntries(Object.keys(calls).map((name) => [name, EPERM])),
  });
  assert.match(shell('unshare -n true'), /unshare failed: Operation not permitted/);
  assert.match(shell('mount -t tmpfs none /mnt'), /mount: .*(denied|superuser|not permitted)/i);
});

test('what netproxy and its commands do goes on, in threads that were there before and in new ones', () => {
  const found = inProcess(`
    const fs = require('node:fs');
    const { Worker } = require('node:worker_threads');
    const pool = fs.promises.readFile('/proc/self/status');
    const count = native.filterSystemCalls();
    const listen = 'require("node:net").createServer().listen(0, "127.0.0.1", function () {'
      + ' this.close(); require("node:worker_threads").parentPort.postMessage(1); })';
    pool.then(() => new Worker(listen, { eval: true }).on('message', () => {
      const commands = sh('ip -j link show lo && ip -4 rule show && nft list tables >/dev/null && echo fine');
      const status = (thread) => fs.readFileSync('/proc/self/task/' + thread + '/status', 'utf8');
      const threads = fs.readdirSync('/proc/self/task').map((thread) => /Seccomp:\\t(\\d)/.exec(status(thread))[1]);
      console.log(JSON.stringify({ count, commands, threads }));
      process.exit();
    }));`);
  const { count, commands, threads } = JSON.parse(found) as {
    count: number;
    commands: string;
    threads: string[];
  };
  assert.ok(count > 40);
  assert.match(commands, /"ifname":"lo"[^]*fine/);
  assert.ok(threads.length > 4);
  assert.deepEqual(new Set(threads), new Set(['2']));
});

test('privileges that are gone are gone for commands too', () => {
  const told = inProcess(
    `native.reducePrivileges([12], 65534, 65534, [2000]);
    console.log(sh('id -u; id -g; id -G; grep CapEff /proc/self/status; cat /etc/shadow'));`,
  );
  assert.match(told, /^65534\n65534\n65534 2000\nCapEff:\s+0000000000001000\n.*Permission denied/);
});

test('arguments of the wrong type are refused', () => {
  const told = inProcess(
    `for (const args of [[], ['x'], [['x']], [[12], 'x', 0, []], [[12], 0, 0]])
      try { native.reducePrivileges(...args); console.log('taken'); } catch (error) { console.log(error.name); }
    for (const args of [[], [5, 0], [4]])
      try { native.openUdp(...args); console.log('taken'); } catch (error) { console.log(error.name); }`,
  );
  assert.equal(told, `${'TypeError\n'.repeat(5)}TypeError\nRangeError\nTypeError\n`);
});
