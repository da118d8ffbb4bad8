/** What `netproxy doctor` says of each thing that is missing, and that it changes nothing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Finding } from '../../src/core/finding.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import { World } from './world.ts';

const main = path.resolve(import.meta.dirname, '../../dist/main.js');
const directory = mkdtempSync(path.join(os.tmpdir(), 'netproxy-doctor-'));
const file = (name: string): string => path.join(directory, name);
const DEADLINE_MS = 60_000;

let world: World;
before(async () => {
  world = await World.create({ config: ['ListenAddress 127.0.0.1'] });
});
after(async () => {
  await world.close();
  rmSync(directory, { recursive: true });
});

interface Diagnosis {
  readonly code: number | null;
  readonly findings: readonly Finding[];
  /** The finding whose check begins so; of several, one that is not fine. */
  readonly of: (check: string) => Finding;
}

/** Runs the doctor with these flags, after a leading command. */
async function doctor(flags: readonly string[], lead: readonly string[] = []): Promise<Diagnosis> {
  const { code, stdout, stderr } = await world.lab.app.run(
    [...lead, process.execPath, main, 'doctor', '--json', ...flags],
    { mayFail: true, timeoutMs: DEADLINE_MS },
  );
  assert.notEqual(stdout, '', stderr);
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  assert.equal(ok, code === 0);
  assert.equal(ok, !findings.some(({ status }) => status === 'fail'), stdout);
  const of = (check: string): Finding => {
    const found = findings.filter((each) => each.check.startsWith(check));
    assert.ok(found[0] !== undefined, `${check} in ${stdout}`);
    return found.find(({ status }) => status !== 'ok') ?? found[0];
  };
  return { code, findings, of };
}

/** A shell with mounts of its own, which ends in the command. */
const mounted = (script: string): string[] => ['unshare', '-m', 'sh', '-ec', `${script}; exec "$@"`, 'sh'];

test('where nothing is missing all is fine: a login, a channel, and nothing is changed', async () => {
  const was = await world.lab.app.routes();
  const { code, findings, of } = await doctor(world.flags);
  assert.equal(code, 0, JSON.stringify(findings, undefined, 1));
  assert.match(of('login to main').found, /connected to 192\.0\.2\.1 port 2222/);
  assert.match(of('forwarding by main').found, /opened a channel to its own port 2222/);
  assert.match(of('host key of main').found, /ssh-ed25519/);
  assert.equal(of('configuration').status, 'ok');
  assert.match(of('exec').found, /could run a command in a namespace of its own, as root/);
  // The lab's files are root's alone.
  assert.match(of('user').found, /stays user 0: user 65534 could not read/);
  assert.match(of('user').fix ?? '', /^chown 65534 /);
  for (const { check, status, fix } of findings)
    assert.ok(status === 'ok' || status === 'skipped' || fix !== undefined, check);
  assert.equal(await world.lab.app.routes(), was);
});

test('people get a table', async () => {
  const { stdout } = await world.lab.app.run([process.execPath, main, 'doctor', '--offline', ...world.flags]);
  assert.match(stdout, /^ok {6}kernel +Linux /m);
  assert.match(stdout, /^skipped bastions +not connected to: --offline$/m);
  assert.match(stdout, /\n0 failed, \d+ warnings, \d+ fine\n$/);
});

test('without a configuration the machine alone is looked at', async () => {
  const { code, of } = await doctor([]);
  assert.equal(code, 0);
  assert.equal(of('configuration').status, 'skipped');
});

/** A folder with links to these commands and no others. */
function onlyCommands(name: string, ...commands: string[]): string[] {
  mkdirSync(file(name));
  for (const command of commands) {
    const place = execFileSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' }).trim();
    symlinkSync(place, path.join(file(name), command));
  }
  return ['env', `PATH=${file(name)}`];
}

/** An `nft` that does to chains of type nat as a kernel does that has none. */
function withoutNat(): string[] {
  const nft = execFileSync('sh', ['-c', 'command -v nft'], { encoding: 'utf8' }).trim();
  mkdirSync(file('without-nat'));
  writeFileSync(
    path.join(file('without-nat'), 'nft'),
    `#!/bin/sh
script=$(cat)
case "$script" in *"type nat"*) echo "Error: Could not process rule: Operation not supported" >&2; exit 1; esac
printf '%s\\n' "$script" | exec ${nft} "$@"
`,
    { mode: 0o755 },
  );
  return ['env', `PATH=${file('without-nat')}:${process.env['PATH']}`];
}

test('what the container lacks is named, with the line that gives it', async () => {
  const cases: [lead: string[], check: string, status: Finding['status'], found: RegExp, fix: RegExp][] = [
    [
      ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin'],
      ...([
        'CAP_NET_ADMIN',
        'fail',
        /missing/,
        /cap_add: \[NET_ADMIN\]\n.*securityContext.*\n.*--cap-add NET_ADMIN/s,
      ] as const),
    ],
    [
      mounted('mount -t tmpfs none /dev/net'),
      ...([
        '/dev/net/tun',
        'fail',
        /missing/,
        /devices: \["\/dev\/net\/tun:\/dev\/net\/tun"\].*hostPath.*--device/s,
      ] as const),
    ],
    [
      mounted('mount -t tmpfs none /dev/net; mkdir /dev/net/tun'),
      ...(['/dev/net/tun', 'fail', /no device/, /CharDevice/] as const),
    ],
    [
      mounted('mount -t tmpfs none /dev/net; mknod /dev/net/tun c 10 250'),
      ...(['/dev/net/tun', 'fail', /no TUN driver/, /modprobe tun/] as const),
    ],
    [
      mounted('mount -t tmpfs none /dev/net'),
      ...([
        'exec',
        'skipped',
        /could not run a command.*\/dev\/net\/tun/,
        /--device \/dev\/net\/tun/,
      ] as const),
    ],
    [
      [
        ...['unshare', '-Urn', 'sh', '-ec'],
        'echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"',
        'sh',
      ],
      ...([
        'exec',
        'skipped',
        /could not run a command.*making a network namespace/,
        /max_user_namespaces/,
      ] as const),
    ],
    [
      withoutNat(),
      ...(['nft_nat', 'warn', /not supported.*asked past netproxy/, /modprobe nft_chain_nat/] as const),
    ],
    [onlyCommands('ip', 'ip'), 'nft command', 'warn', /no command "nft"/, /apt-get install nftables/],
    [onlyCommands('none'), 'ip command', 'fail', /no such command/, /apt-get install iproute2/],
    [
      mounted(
        `echo 50000000 > ${file('limit')}; mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/memory; cp ${file('limit')} /sys/fs/cgroup/memory/memory.limit_in_bytes`,
      ),
      ...(['memory', 'fail', /48 MiB/, /mem_limit: 192m/] as const),
    ],
    [
      mounted('mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys'),
      ...(['/proc/sys', 'ok', /read-only, as containers have it/, /^$/] as const),
    ],
  ];
  for (const [lead, check, status, found, fix] of cases) {
    const { of } = await doctor(['--offline'], lead);
    const finding = of(check);
    assert.equal(finding.status, status, JSON.stringify(finding));
    assert.match(finding.found, found);
    assert.match(finding.fix ?? '', fix);
  }
});

test('what is odd about the namespace is named', async () => {
  const cases: [make: string, undo: string, check: string, found: RegExp, fix: RegExp][] = [
    [
      'echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter',
      'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter',
      ...(['rp_filter', /strict/, /net\.ipv4\.conf\.all\.rp_filter: 2/] as const),
    ],
    [
      'ip link add docker0 type bridge',
      'ip link del docker0',
      'network namespace',
      /docker0/,
      /network_mode: host/,
    ],
    [
      'ip route del default; ip -6 route del default',
      `ip route add default via ${LAB.bastion.v4} dev eth0; ip -6 route add default via ${LAB.bastion.v6} dev eth0`,
      ...(['default route', /there is none/, /internal: true/] as const),
    ],
    [
      'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
      'echo 0 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
      ...(['IPv6', /nothing can leave by it/, /^$/] as const),
    ],
  ];
  for (const [make, undo, check, found, fix] of cases) {
    await world.lab.app.run(['sh', '-ec', make]);
    const { of } = await doctor(['--offline']);
    await world.lab.app.run(['sh', '-ec', undo]);
    // Worse where it is sure, which depends on the machine that this runs on.
    assert.match(
      of(check).status,
      check === 'IPv6' ? /ok/ : check === 'network namespace' ? /warn|fail/ : /warn/,
    );
    assert.match(of(check).found, found);
    assert.match(of(check).fix ?? '', fix);
  }
});

test('a run that goes on, and what a killed one left', async () => {
  const netproxy = world.netproxy();
  await netproxy.ready();
  const during = await doctor(world.flags);
  assert.equal(during.code, 0);
  assert.match(during.of('earlier runs').found, /running here, by tun0; 0 packets leaked/);
  assert.equal(during.of('forwarding by main').status, 'ok');
  await netproxy.stop('SIGKILL');
  const { of } = await doctor(world.flags);
  assert.equal(of('earlier runs').status, 'warn');
  assert.match(of('earlier runs').found, /left \d+ routes, \d+ rules and a table of nftables/);
  assert.match(of('earlier runs').fix ?? '', /netproxy release/);
  assert.equal(of('login to main').status, 'ok');
  await world.command('release');
});

test('what is wrong with the configuration and its files is named, and the machine is looked at all the same', async () => {
  const missing = await doctor([
    ...world.flags.slice(0, 2),
    '--identity',
    '/nonexistent',
    ...world.flags.slice(4),
    '--connect-hold',
    'soon',
  ]);
  assert.equal(missing.code, 1);
  const wrong = missing.findings.filter(
    ({ check, status }) => check === 'configuration' && status === 'fail',
  );
  assert.deepEqual(wrong.length, 2, JSON.stringify(wrong));
  assert.match(
    JSON.stringify(wrong),
    /\/nonexistent: ENOENT.*--connect-hold|--connect-hold.*\/nonexistent: ENOENT/,
  );
  assert.equal(missing.of('CAP_NET_ADMIN').status, 'ok');

  writeFileSync(file('garbage'), 'no key\n');
  const garbage = await doctor([
    ...world.flags.slice(0, 2),
    '--identity',
    file('garbage'),
    ...world.flags.slice(4),
  ]);
  assert.match(garbage.of('configuration').found, /--identity: /);
});

test('an unknown flag is an error of its own', async () => {
  const { code, stdout } = await world.lab.app.run([process.execPath, main, 'doctor', '--ofline'], {
    mayFail: true,
  });
  assert.deepEqual([code, stdout], [64, '']);
});

test('what keeps a bastion from being used is named', async () => {
  const { user, port, clientKeyFile } = world.sshd;
  const [, , , , , knownHosts = ''] = world.flags;
  await makeKey(file('stranger'));
  writeFileSync(file('empty_known_hosts'), '# nothing\n');
  const flags = (bastion: string, key = clientKeyFile, known = knownHosts): string[] => [
    ...['--bastion', `ssh://${user}@${bastion}`, '--identity', key, '--known-hosts', known],
    ...['--handshake-timeout', '20s'],
  ];
  const here = `${LAB.bastion.v4}:${port}`;

  const unknown = await doctor(flags(here, clientKeyFile, file('empty_known_hosts')));
  assert.equal(unknown.of('host key of main').status, 'fail');
  assert.match(unknown.of('host key of main').fix ?? '', /netproxy keyscan 192\.0\.2\.1:2222/);

  const refused = await doctor(flags(here, file('stranger')));
  assert.equal(refused.of('login to main').status, 'fail');
  assert.match(refused.of('login to main').fix ?? '', /authorized_keys/);

  const nameless = await doctor(flags('nosuch.invalid:22'));
  assert.match(nameless.of('bastions').found, /nosuch\.invalid has no address/);

  await world.sshd.halt();
  const away = await doctor(world.flags);
  await world.sshd.start();
  assert.equal(away.of('login to main').status, 'fail');
  assert.match(away.of('login to main').found, /ECONNREFUSED/);
});

test('a bastion that forwards nothing is told from one that does', async () => {
  const sshd = await startSshd({
    ...{ netns: world.lab.bastion.name, address: LAB.bastion.v4, port: 2223 },
    config: ['AllowTcpForwarding no'],
  });
  try {
    const { of } = await doctor([
      ...['--bastion', `ssh://${sshd.user}@${LAB.bastion.v4}:2223`],
      ...['--identity', sshd.clientKeyFile, '--known-hosts', sshd.knownHostsFile],
    ]);
    assert.equal(of('login to main').status, 'ok');
    assert.equal(of('forwarding by main').status, 'warn');
    assert.match(of('forwarding by main').fix ?? '', /AllowTcpForwarding yes/);
  } finally {
    await sshd.stop();
  }
});

test('certificates are held against the clock', async () => {
  await makeKey(file('authority'));
  for (const [name, validity, found] of [
    ['early', '+1h:+2h', /is not valid before .*, and it is /],
    ['late', '-2h:-1h', /expired at /],
  ] as const) {
    await makeKey(file(name));
    execFileSync('ssh-keygen', [
      '-q',
      '-s',
      file('authority'),
      '-I',
      'lab',
      '-n',
      world.sshd.user,
      '-V',
      validity,
      `${file(name)}.pub`,
    ]);
    const { of } = await doctor([
      ...world.flags.slice(0, 2),
      '--identity',
      file(name),
      ...world.flags.slice(4),
      '--offline',
    ]);
    assert.equal(of('certificate of main').status, 'fail');
    assert.match(of('certificate of main').found, found);
  }
});

test('no session is left behind on the server', async () => {
  await waitFor('the last session to end', async () => {
    const { stdout } = await world.lab.bastion.run([
      'ss',
      '-tHn',
      'state',
      'established',
      'sport',
      `= :${world.sshd.port}`,
    ]);
    return stdout.trim() === '';
  });
});
