/** The image: what is in it, how large it is, and with how few rights it works. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { IMAGES } from '../lab/engine.ts';
import { LAB, waitFor } from '../lab/namespaces.ts';
import { PORTS } from '../netns/ports.ts';
import { application, Site } from './site.ts';

/** Bytes above the base image, as docs/compose.md says. */
const SIZE_MAX = 35_000_000;
const ANCHOR_SIZE_MAX = 100_000;
const READY_DEADLINE_MS = 90_000;
/** Bit of CAP_NET_ADMIN (capability.h), as /proc/PID/status prints it. */
const NET_ADMIN_ALONE = '0000000000001000';

let site: Site;
before(async () => {
  site = await Site.create();
});
after(() => site?.close());

const within = async (...argv: string[]): Promise<string> => {
  const [program = '', ...words] = argv;
  return (await site.engine.docker(['run', '--rm', '--entrypoint', program, IMAGES.netproxy, ...words]))
    .stdout;
};

describe('what is in it', () => {
  test(`it is less than ${SIZE_MAX / 1e6} MB larger than its base`, async (t) => {
    const [own, base, anchor] = await Promise.all(
      [IMAGES.netproxy, IMAGES.node, IMAGES.anchor].map((image) =>
        site.engine.inspect<number>(image, '.Size'),
      ),
    );
    t.diagnostic(
      `netproxy ${own! / 1e6} MB, of it ${(own! - base!) / 1e6} MB above the base; anchor ${anchor} bytes`,
    );
    assert.ok(own! - base! < SIZE_MAX);
    assert.ok(anchor! < ANCHOR_SIZE_MAX);
  });

  test('labels of OCI, with the version of package.json', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    const labels = await site.engine.inspect<Record<string, string>>(IMAGES.netproxy, '.Config.Labels');
    const label = (name: string): string | undefined => labels[`org.opencontainers.image.${name}`];
    assert.equal(label('title'), 'netproxy');
    assert.equal(label('version'), version);
    assert.equal(label('base.name'), IMAGES.node);
    for (const name of ['description', 'revision', 'licenses']) assert.ok(label(name), name);
  });

  test('the health check is a native program', async () => {
    const check = await site.engine.inspect<{ Test: string[] }>(IMAGES.netproxy, '.Config.Healthcheck');
    assert.deepEqual(check.Test, ['CMD', '/app/health']);
    assert.equal(await within('head', '-c', '4', '/app/health'), '\x7fELF');
  });

  test('modules come compiled, for root', async () => {
    const script = 'NODE_DEBUG_NATIVE=COMPILE_CACHE netproxy exec -- true 2>&1 | grep -c "was accepted"';
    const accepted = Number(await within('sh', '-c', script).catch(({ message }: Error) => message));
    assert.ok(accepted > 50, `${accepted} modules`);
  });

  test('no compiler, and no package of development', async () => {
    const tools = 'gcc g++ cc c++ cpp as ld clang make python3 musl-gcc node-gyp tsc';
    assert.equal(await within('sh', '-c', `for tool in ${tools}; do command -v $tool; done; true`), '');
    const folders = 'find /app \\( -name "*.ts" -o -name "*.cc" -o -name binding.gyp -o -name typescript \\)';
    assert.equal(await within('sh', '-c', folders), '');
  });

  test("ssh2's native crypto, which netproxy does not start without", async () => {
    const file = '/app/node_modules/ssh2/lib/protocol/crypto/build/Release/sshcrypto.node';
    assert.match(await within('node', '-p', `Object.keys(require('${file}')).join()`), /AESGCMCipher/);
  });
});

describe('with how few rights it works', () => {
  const secrets = (): string[] => {
    const files = { key: site.sshd.clientKeyFile, known_hosts: site.sshd.knownHostsFile };
    return Object.entries(files).flatMap(([name, file]) => {
      const copy = join(site.folder, name);
      copyFileSync(file, copy);
      chmodSync(copy, 0o444);
      return ['--volume', `${copy}:/run/secrets/${name}:ro`];
    });
  };
  const start = async (name: string, ...flags: string[]): Promise<void> => {
    const settings = [
      `NETPROXY_BASTION=ssh://${site.sshd.user}@${LAB.bastion.v4}`,
      'NETPROXY_IDENTITY_FILE=/run/secrets/key',
      'NETPROXY_KNOWN_HOSTS_FILE=/run/secrets/known_hosts',
    ].flatMap((setting) => ['--env', setting]);
    const words = ['run', '--detach', '--name', name, '--health-interval', '1s', '--device', '/dev/net/tun'];
    await site.engine.docker([...words, ...flags, ...settings, ...secrets(), IMAGES.netproxy]);
    await waitFor(
      `${name} to be healthy`,
      async () => {
        const state = await site.engine.inspect<{ Running: boolean; Health: { Status: string } }>(
          name,
          '.State',
        );
        if (!state.Running) throw new Error((await site.engine.docker(['logs', name])).stderr);
        return state.Health.Status === 'healthy';
      },
      READY_DEADLINE_MS,
    );
  };
  const status = async (name: string): Promise<Record<string, string>> => {
    const { stdout } = await site.engine.exec(name, ['cat', '/proc/1/status']);
    return Object.fromEntries(stdout.split('\n').map((line) => line.split(/:\s+/) as [string, string]));
  };
  const carries = async (name: string): Promise<void> => {
    const words = ['run', '--rm', '--network', `container:${name}`, '--volume', `${application}:/app.ts:ro`];
    const client = ['node', '/app.ts', 'echo', LAB.target.v4, String(PORTS.echo)];
    const { stdout } = await site.engine.docker([...words, IMAGES.node, ...client]);
    assert.match(stdout, /"echo":"hello"/);
  };
  const least = [
    '--read-only',
    '--cap-drop',
    'ALL',
    '--cap-add',
    'NET_ADMIN',
    '--security-opt',
    'no-new-privileges',
  ];

  test('read-only, with NET_ADMIN alone', async () => {
    await start('least', ...least);
    const { CapEff, CapBnd, NoNewPrivs } = await status('least');
    assert.deepEqual(
      { CapEff, CapBnd, NoNewPrivs },
      { CapEff: NET_ADMIN_ALONE, CapBnd: NET_ADMIN_ALONE, NoNewPrivs: '1' },
    );
    await carries('least');
  });

  test('with SETUID and SETGID it is nobody once it runs, and can still be asked for its health', async () => {
    await start('nobody', ...least, '--cap-add', 'SETUID', '--cap-add', 'SETGID');
    const { Uid, CapEff } = await status('nobody');
    assert.match(Uid ?? '', /^65534\t65534/);
    assert.equal(CapEff, NET_ADMIN_ALONE);
    await carries('nobody');
  });

  test("with the engine's usual rights and NET_ADMIN, too", async () => {
    await start('usual', '--cap-add', 'NET_ADMIN');
    const { Uid, CapEff } = await status('usual');
    assert.match(Uid ?? '', /^65534\t65534/);
    assert.equal(CapEff, NET_ADMIN_ALONE);
    const { stdout } = await site.engine.exec('usual', ['netproxy', 'status']);
    assert.match(stdout, /ready/);
    await carries('usual');
  });
});
