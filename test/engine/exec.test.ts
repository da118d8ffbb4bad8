/** `netproxy exec` in containers without privileges, each with no more than it needs, and with less. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { chmodSync, chownSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Finding } from '../../src/core/finding.ts';
import { engineBuilds, IMAGES } from '../lab/engine.ts';
import type { EngineBuild } from '../lab/engine.ts';
import { countLeaks, LAB } from '../lab/namespaces.ts';
import type { RunResult } from '../lab/namespaces.ts';
import { SAYS } from '../netns/dns-world.ts';
import { PORTS } from '../netns/ports.ts';
import { application, Site } from './site.ts';

const profile = resolve(import.meta.dirname, '../../docker/ci/seccomp.json');
const USER = 1000;
const RUN_DEADLINE_MS = 120_000;
/** The capabilities that Docker gives by default are taken away, and none can be gained. */
const NOTHING = ['--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
const AS_USER = ['--user', `${USER}:${USER}`];
const PROFILE = ['--security-opt', `seccomp=${profile}`];

/** What a command sees of its surroundings, and reaches. */
const SURVEY = `
  awk -F: 'NR > 2 { print $1 }' /proc/net/dev | sort | tr -d '\\n'; echo
  getent hosts web.example | awk '{ print $1 }'
  node /app.ts echo web.example ${PORTS.echo} | grep -o hello
  node /app.ts echo ${LAB.target.v4} ${PORTS.closed}
  node /app.ts echo ${LAB.bastion.v4} 1
  cat
  echo "$(id -u) $(awk '{ print $1, $2, $3 }' /proc/self/uid_map)"
  exit 7`;

const REACHED = [
  '    lo  tun0',
  SAYS.far,
  'hello',
  // PermitOpen of the bastion has neither.
  '{"code":"EHOSTUNREACH"}',
  '{"code":"EHOSTUNREACH"}',
  'from outside',
];

class Place {
  readonly site: Site;
  #bridge = '';

  constructor(site: Site) {
    this.site = site;
  }

  static async create(build?: EngineBuild): Promise<Place> {
    const place = new Place(await Site.create(build));
    const { engine, folder, sshd } = place.site;
    await engine.docker(['network', 'create', 'jobs']);
    place.#bridge = `br-${(await engine.inspect<string>('jobs', '.Id')).slice(0, 12)}`;
    for (const user of [0, USER]) {
      const key = join(folder, `key-${user}`);
      copyFileSync(sshd.clientKeyFile, key);
      chmodSync(key, 0o400);
      chownSync(key, user, user);
    }
    for (const [name, mode] of [
      ['open', 0o666],
      ['shut', 0o600],
    ] as const) {
      // An engine gives the device in the container the mode of the one that it is made of.
      execFileSync('mknod', [join(folder, name), 'c', '10', '200']);
      chmodSync(join(folder, name), mode);
    }
    return place;
  }

  /** The flag for the device, as most machines have it, or for root only. */
  device(mode: 'open' | 'shut' = 'open'): string[] {
    return ['--device', `${join(this.site.folder, mode)}:/dev/net/tun`];
  }

  /** A job in a container of its own, with the rights that `flags` give. */
  run(flags: readonly string[], argv: readonly string[] = ['sh', '-c', SURVEY]): Promise<RunResult> {
    const { engine, folder, sshd } = this.site;
    const user = flags.includes('--user') ? USER : 0;
    const files = [
      `${join(folder, `key-${user}`)}:/key:ro`,
      `${sshd.knownHostsFile}:/known_hosts:ro`,
      `${application}:/app.ts:ro`,
    ];
    return engine.docker(
      [
        ...['run', '--rm', '--interactive', '--network', 'jobs'],
        ...files.flatMap((file) => ['--volume', file]),
        ...[...flags, IMAGES.netproxy, 'exec'],
        ...['--bastion', `ssh://${sshd.user}@${LAB.bastion.v4}`, '--identity', '/key'],
        ...['--known-hosts', '/known_hosts', '--', ...argv],
      ],
      { input: 'from outside\n', mayFail: true, timeoutMs: RUN_DEADLINE_MS },
    );
  }

  /** The same; fails unless the command has all, as the user `who`, and nothing left the container past SSH. */
  async works(flags: readonly string[], who: string): Promise<void> {
    const { count, lines } = await countLeaks(
      this.site.lab.app,
      this.#bridge,
      async () => {
        const { code, stdout, stderr } = await this.run(flags);
        assert.deepEqual(stdout.trimEnd().split('\n'), [...REACHED, who], `${stdout}\n${stderr}`);
        assert.equal(code, 7);
        assert.equal(stderr, '');
      },
      `ip and not igmp and not (host ${LAB.bastion.v4} and tcp port 22)`,
    );
    assert.equal(count, 0, lines.join('\n'));
  }

  /** Fails unless it is refused with this code and these words. */
  async refuses(flags: readonly string[], told: RegExp): Promise<void> {
    const { code, stdout, stderr } = await this.run(flags, ['echo', 'started']);
    assert.match(stderr, told);
    assert.deepEqual([code, stdout], [64, '']);
  }

  /** What the doctor says of `exec` there. */
  async doctor(flags: readonly string[]): Promise<Finding> {
    const words = ['run', '--rm', ...flags, IMAGES.netproxy, 'doctor', '--offline', '--json'];
    const { stdout } = await this.site.engine.docker(words, { mayFail: true });
    const { findings } = JSON.parse(stdout) as { findings: readonly Finding[] };
    const finding = findings.find(({ check }) => check === 'exec');
    assert.ok(finding !== undefined, stdout);
    return finding;
  }

  async close(): Promise<void> {
    await this.site.close();
  }
}

const ALL = '0 0 4294967295';

for (const build of engineBuilds()) {
  describe(`exec in a container of the ${build.name} engine`, () => {
    let place: Place;
    before(async () => {
      place = await Place.create(build);
    });
    after(() => place?.close());

    test('a user without any right needs the device and the profile, and stays who he is', async () => {
      const given = [...AS_USER, ...NOTHING, ...place.device(), ...PROFILE];
      await place.works(given, `${USER} ${USER} ${USER} 1`);
      const { status, found } = await place.doctor(given);
      assert.match(found, /could run a command .* as user 1000, by a user namespace/);
      assert.equal(status, 'ok');
    });

    test('root of an ordinary container, with NET_ADMIN or without, keeps all of its users', async () => {
      await place.works([...place.device('shut'), ...PROFILE], `0 ${ALL}`);
      await place.works(['--cap-add', 'NET_ADMIN', ...place.device('shut'), ...PROFILE], `0 ${ALL}`);
    });

    test('what is not given is asked for by name', async () => {
      const profileMissing =
        /error NAMESPACE_REFUSED: making a network namespace[^]*docker run: --security-opt seccomp=seccomp\.json --device \/dev\/net\/tun/;
      await place.refuses([...AS_USER, ...place.device()], profileMissing);
      await place.refuses(['--cap-add', 'NET_ADMIN', ...place.device()], profileMissing);
      const doctor = await place.doctor([...AS_USER, ...place.device()]);
      assert.deepEqual(
        [doctor.status, /seccomp=seccomp\.json/.test(doctor.fix ?? '')],
        ['skipped', true],
        doctor.found,
      );
      const deviceMissing =
        /error TUN_MISSING: opening the TUN device[^]*docker run: --device \/dev\/net\/tun/;
      await place.refuses([...AS_USER, ...PROFILE], deviceMissing);
      await place.refuses(PROFILE, deviceMissing);
      await place.refuses(
        [...AS_USER, ...place.device('shut'), ...PROFILE],
        /error TUN_MISSING: [^]*chmod 666 \/dev\/net\/tun/,
      );
      await place.refuses(
        [...NOTHING, ...place.device(), ...PROFILE],
        /error NAMESPACE_REFUSED: [^]*mapping the user[^]*docker run: --cap-add SETFCAP; or --user/,
      );
    });
  });
}

describe('exec in a container', () => {
  let place: Place;
  before(async () => {
    place = await Place.create();
  });
  after(() => place?.close());

  test('root with SYS_ADMIN needs no profile', async () => {
    const rights = ['SYS_ADMIN', 'NET_ADMIN'].flatMap((name) => ['--cap-add', name]);
    await place.works([...rights, ...place.device()], `0 ${ALL}`);
  });

  test('where all system calls are allowed, or mounts are refused as AppArmor does, it works as well', async () => {
    const rights = [...AS_USER, ...place.device()];
    const who = `${USER} ${USER} ${USER} 1`;
    await place.works([...rights, '--security-opt', 'seccomp=unconfined'], who);
    const file = join(place.site.folder, 'apparmor.json');
    const rule = { names: ['mount', 'umount2'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 };
    writeFileSync(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
    await place.works([...rights, '--security-opt', `seccomp=${file}`], who);
  });

  test('with the profile nothing else comes to be allowed that Docker refuses, and the image has it', async () => {
    const image = [...AS_USER, ...PROFILE, '--entrypoint', 'sh', IMAGES.netproxy, '-c'];
    const within = async (script: string): Promise<RunResult> =>
      place.site.engine.docker(['run', '--rm', ...image, script], { mayFail: true });
    assert.equal((await within('cat /app/seccomp.json')).stdout, readFileSync(profile, 'utf8'));
    assert.equal((await within('unshare --user --net --mount --propagation unchanged true')).code, 0);
    for (const kind of ['--uts', '--ipc', '--cgroup', '--time', '--pid']) {
      const { code, stderr } = await within(`unshare --user ${kind} --propagation unchanged true`);
      assert.match(stderr, /unshare failed: Operation not permitted/, kind);
      assert.equal(code, 1);
    }
    const mounted = await within(
      'unshare --user --map-root-user --mount --propagation unchanged mount -t tmpfs x /mnt',
    );
    assert.notEqual(mounted.code, 0);
    assert.match(mounted.stderr, /mount|permi/i);
  });
});
