import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { Config } from '../../src/config/config.ts';
import { describeConfig } from '../../src/config/describe.ts';
import { loadConfig, loadHostConfig } from '../../src/config/load.ts';
import type { Loaded, Sources } from '../../src/config/load.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import type { SettingId } from '../../src/config/settings.ts';
import { NetproxyError, ProblemsError } from '../../src/core/errors.ts';
import type { Problem } from '../../src/core/errors.ts';

const FILES: Readonly<Record<string, string>> = {
  '/key': 'PRIVATE-KEY-BYTES',
  '/pass': 'correct horse\n',
  '/hosts': 'h ssh-ed25519 AAAA\n',
};

function sources(options: {
  flags?: Partial<Record<SettingId, string | string[]>>;
  env?: Record<string, string>;
  file?: string;
  files?: Record<string, string>;
}): Sources {
  const flags = Object.entries(options.flags ?? {}).map(
    ([id, texts]) =>
      [
        id as SettingId,
        [texts].flat().map((text) => ({ text, where: `--${SETTINGS.get(id as SettingId)?.flag}` })),
      ] as const,
  );
  const files: Record<string, string> = { ...FILES, ...options.files };
  if (options.file !== undefined) files['/c.yaml'] = options.file;
  const environment = {
    ...(options.file === undefined ? {} : { NETPROXY_CONFIG: '/c.yaml' }),
    ...options.env,
  };
  return {
    flags: new Map(flags),
    environment,
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new NetproxyError('CONFIG_UNREADABLE', `${path}: ENOENT`);
      return Buffer.from(text);
    },
  };
}

const complete = {
  bastion: 'ssh://deploy@bastion.example',
  'bastions[].identityFile': '/key',
  'bastions[].knownHostsFile': '/hosts',
};

const fileOf = (rest: string): string =>
  `bastions: [{ name: a, host: h, user: u, identityFile: /key, knownHostsFile: /hosts }]\n${rest}\n`;

async function problemsOf(options: Parameters<typeof sources>[0]): Promise<readonly Problem[]> {
  try {
    await loadConfig(sources(options));
  } catch (error) {
    assert.ok(error instanceof ProblemsError, String(error));
    assert.equal(error.exitCode, 64);
    return error.problems;
  }
  return [];
}

async function load(options: Parameters<typeof sources>[0]): Promise<Loaded<Config>> {
  return loadConfig(sources(options));
}

describe('a configuration in order', () => {
  test('by flags alone has the defaults of the table', async () => {
    const { config } = await load({ flags: complete });
    const { credentials, ...bastion } = config.bastions[0] ?? assert.fail();
    assert.deepEqual(bastion, {
      name: 'main',
      host: 'bastion.example',
      port: 22,
      user: 'deploy',
      identityFile: ['/key'],
      identityPassphraseFile: [],
      certificateFile: [],
      agent: undefined,
      passwordFile: undefined,
      keyboardInteractiveFile: undefined,
      auth: [],
      knownHostsFile: ['/hosts'],
      hostKeyAlias: undefined,
      hostKeys: [],
      tofu: undefined,
      algorithms: { ciphers: [], macs: [], kex: [], hostKeys: [] },
      jump: undefined,
      maxConnections: 4,
      keepAlive: 5_000,
      keepAliveMisses: 2,
      handshakeTimeout: 15_000,
    });
    assert.equal(credentials.identities[0]?.contents.reveal().toString(), 'PRIVATE-KEY-BYTES');
    assert.equal(credentials.identities[0].certificate, undefined);
    assert.deepEqual(credentials.passphrases, []);
    assert.deepEqual(credentials.knownHosts, [{ file: '/hosts', text: 'h ssh-ed25519 AAAA\n' }]);
    const { bastions: _, dns, ...host } = config;
    assert.deepEqual([dns.port, dns.aaaa, dns.stale, dns.fakeFile], [28_053, 'auto', 86_400_000, undefined]);
    assert.deepEqual(host, {
      sshConfig: undefined,
      tun: { name: 'tun0', mtu: 1500, address4: '198.18.0.1/30', address6: 'fd6e:7072::1/126' },
      ...{ local: [], captured: [] },
      metadata: 'reject',
      layers: ['routes', 'nftables'],
      strict: false,
      onExit: 'closed',
      user: 'auto',
      seccomp: true,
      control: { socket: undefined, listen: undefined, tokenFile: undefined, token: undefined },
      readyTarget: { address: '127.0.0.1', port: 22 },
      connectHold: 10_000,
      dialTimeout: 30_000,
      keepAlive: 5_000,
      keepAliveMisses: 2,
      handshakeTimeout: 15_000,
      rekeyInterval: 3_600_000,
      rules: [],
      watch: true,
      log: { level: 'info', format: 'auto', flows: 'failed' },
      ...{ groups: [], groupPolicy: 'failover' },
    });
  });

  test('is the same by flags, by environment and by file', async () => {
    const byFlags = await load({
      flags: {
        ...complete,
        'bastions[].identityPassphraseFile': '/pass',
        'tun.mtu': '9000',
        local: ['10.0.0.0/8', 'fd00::/8'],
        connectHold: '1m30s',
      },
    });
    const byEnvironment = await load({
      env: {
        NETPROXY_BASTION: 'ssh://deploy@bastion.example',
        NETPROXY_IDENTITY_FILE: '/key',
        NETPROXY_IDENTITY_PASSPHRASE_FILE: '/pass',
        NETPROXY_KNOWN_HOSTS_FILE: '/hosts',
        NETPROXY_TUN_MTU: '9000',
        NETPROXY_LOCAL: '10.0.0.0/8, fd00::/8',
        NETPROXY_CONNECT_HOLD: '90s',
      },
    });
    const byFile = await load({
      file: `
bastions:
  - { name: main, host: bastion.example, user: deploy, identityFile: /key, identityPassphraseFile: /pass, knownHostsFile: /hosts }
tun: { mtu: 9000 }
local:
  - 10.0.0.0/8
  - fd00::/8
connectHold: 90000ms
`,
    });
    assert.deepEqual(byEnvironment.config, byFlags.config);
    assert.deepEqual(byFile.config, byFlags.config);
    assert.equal(byFile.config.bastions[0]?.credentials.passphrases[0]?.reveal(), 'correct horse');
    assert.equal(byFile.origins.get('tun.mtu'), '/c.yaml:4:13');
    assert.equal(byFile.origins.get('tun.name'), 'default');
    assert.equal(byEnvironment.origins.get('bastions[0].host'), 'NETPROXY_BASTION');
  });

  test('is frozen to its depth', async () => {
    const { config } = await load({ flags: { ...complete, local: ['10.0.0.0/8'] } });
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      assert.ok(Object.isFrozen(value), inspect(value));
      Object.values(value).forEach(walk);
    };
    walk(config);
  });

  test('takes --bastion in place of the bastions of the file, and --identity for all of them', async () => {
    const file = `bastions:
  - { name: a, host: h, user: u, identityFile: /other, knownHostsFile: /hosts }
  - { name: b, host: h, user: u, knownHostsFile: /hosts }`;
    const several = await load({ file, flags: { 'bastions[].identityFile': '/key' } });
    assert.deepEqual(
      several.config.bastions.map(({ name, identityFile }) => [name, identityFile]),
      [
        ['a', ['/key']],
        ['b', ['/key']],
      ],
    );
    const one = await load({ file, flags: complete });
    assert.deepEqual(
      one.config.bastions.map(({ name }) => name),
      ['main'],
    );
  });

  test('follows the order flags, environment, file, default for every setting alone', async () => {
    // Two values, other than the default, for each setting that all three sources can give.
    const values: Partial<Record<SettingId, readonly [string, string, string]>> = {
      'tun.name': ['a0', 'b0', 'c0'],
      'tun.mtu': ['1281', '1282', '1283'],
      'tun.address4': ['10.0.0.1/30', '10.0.0.1/29', '10.0.0.1/28'],
      'tun.address6': ['fd00::1/64', 'fd00::2/64', 'fd00::3/64'],
      local: ['10.0.0.0/8', '10.0.0.0/9', '10.0.0.0/10'],
      connectHold: ['1s', '2s', '3s'],
      dialTimeout: ['1s', '2s', '3s'],
      keepAlive: ['1s', '2s', '3s'],
      keepAliveMisses: ['3', '4', '5'],
      handshakeTimeout: ['1s', '2s', '3s'],
      rekeyInterval: ['1s', '2s', '3s'],
    };
    const ids = Object.keys(values) as SettingId[];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ flag: fc.boolean(), env: fc.boolean(), file: fc.boolean() }), {
          minLength: ids.length,
          maxLength: ids.length,
        }),
        async (given) => {
          const flags: Partial<Record<SettingId, string>> = {};
          const env: Record<string, string> = {};
          const tun: string[] = [];
          const top: string[] = [];
          for (const [index, id] of ids.entries()) {
            const [byFlag, byEnv, byFile] = values[id] ?? assert.fail();
            const row = SETTINGS.get(id) ?? assert.fail();
            if (given[index]?.flag === true) flags[id] = byFlag;
            if (given[index]?.env === true) env[row.env ?? assert.fail()] = byEnv;
            const inFile = row.list === true ? `["${byFile}"]` : `"${byFile}"`;
            if (given[index]?.file === true)
              (id.startsWith('tun.') ? tun : top).push(`${id.replace('tun.', '')}: ${inFile}`);
          }
          const file = fileOf(`${top.join('\n')}\ntun: { ${tun.join(', ')} }`);
          const loaded = await load({ flags, env, file });
          const described = new Map(describeConfig(loaded).map(({ key, value }) => [key, value]));
          for (const [index, id] of ids.entries()) {
            const [byFlag, byEnv, byFile] = values[id] ?? assert.fail();
            const row = SETTINGS.get(id);
            const fallback = row?.default ?? '';
            const { flag, env: variable, file: inFile } = given[index] ?? assert.fail();
            const wanted = flag ? byFlag : variable ? byEnv : inFile ? byFile : fallback;
            assert.equal(String(described.get(id)), wanted, id);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('never shows a secret, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.stringMatching(/^[A-Za-z0-9]{12,40}$/),
        fc.stringMatching(/^[A-Za-z0-9]{12,40}$/),
        async (key, pass) => {
          const loaded = await load({
            flags: {
              ...complete,
              'bastions[].identityPassphraseFile': '/pass',
              'bastions[].passwordFile': '/pass',
              'bastions[].keyboardInteractiveFile': '/pass',
            },
            files: { '/key': key, '/pass': pass },
          });
          const shown = [
            JSON.stringify(describeConfig(loaded)),
            JSON.stringify(loaded.config),
            inspect(loaded.config, { depth: 10, showHidden: true }),
            String(loaded.config.bastions[0]?.credentials.identities[0]?.contents),
            String(loaded.config.bastions[0]?.credentials.password),
          ].join('\n');
          assert.ok(!shown.includes(key) && !shown.includes(pass), shown);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('what a bastion is logged in to with', () => {
  const without = { bastion: complete.bastion, 'bastions[].knownHostsFile': '/hosts' };

  test('may be several keys, with the certificates beside them', async () => {
    const files = { '/k1': 'ONE', '/k2': 'TWO', '/k2-cert.pub': 'CERTIFICATE', '/c': 'NAMED' };
    const wanted = [
      ['/k1', undefined],
      ['/k2', '/k2-cert.pub'],
    ];
    for (const options of [
      {
        flags: { ...without, 'bastions[].identityFile': ['/k1', '/k2'], 'bastions[].certificateFile': '/c' },
      },
      { flags: without, env: { NETPROXY_IDENTITY_FILE: '/k1,/k2', NETPROXY_CERTIFICATE_FILE: '/c' } },
      {
        file: `bastions: [{ name: a, host: h, user: u, identityFile: [/k1, /k2], certificateFile: /c, knownHostsFile: /hosts }]`,
      },
    ]) {
      const { config } = await load({ ...options, files });
      const { identities, certificates } = config.bastions[0]?.credentials ?? assert.fail();
      assert.deepEqual(
        identities.map(({ file, certificate }) => [file, certificate?.file]),
        wanted,
      );
      assert.deepEqual(
        certificates.map(({ file }) => file),
        ['/c'],
      );
    }
  });

  test('needs no key when there is another way', async () => {
    for (const [id, text] of [
      ['bastions[].passwordFile', '/pass'],
      ['bastions[].keyboardInteractiveFile', '/pass'],
      ['bastions[].agent', '/run/agent.sock'],
      ['bastions[].auth', 'keyboard-interactive'],
    ] as const) {
      await load({ flags: { ...without, [id]: text } });
    }
    const [problem, ...more] = await problemsOf({ flags: without });
    assert.equal(more.length, 0);
    assert.match(problem?.message ?? '', /identityFile is missing; .*agent, passwordFile/);
  });

  test('is a password or answers without the last newline, whatever its form', async () => {
    for (const end of ['', '\n', '\r\n']) {
      const { config } = await load({
        flags: {
          ...without,
          'bastions[].passwordFile': '/secret',
          'bastions[].keyboardInteractiveFile': '/lines',
        },
        files: { '/secret': ` pass word ${end}`, '/lines': `one\n\nthree${end}` },
      });
      const { password, answers } = config.bastions[0]?.credentials ?? assert.fail();
      assert.equal(password?.reveal(), ' pass word ');
      assert.deepEqual(answers?.reveal(), ['one', '', 'three']);
    }
    const [problem] = await problemsOf({
      flags: { ...without, 'bastions[].passwordFile': '/empty' },
      files: { '/empty': '\n' },
    });
    assert.equal(problem?.code, 'CREDENTIAL_UNREADABLE');
    assert.match(problem.message, /first line is empty/);
  });

  test('is the agent of SSH_AUTH_SOCK when asked for by "true"', async () => {
    const flags = { ...without, 'bastions[].agent': 'true' };
    const { config } = await load({ flags, env: { SSH_AUTH_SOCK: '/tmp/agent.1' } });
    assert.equal(config.bastions[0]?.credentials.agentSocket, '/tmp/agent.1');
    const [problem] = await problemsOf({ flags });
    assert.match(problem?.message ?? '', /SSH_AUTH_SOCK.* is not set/);
    const off = await load({
      flags: { ...flags, 'bastions[].agent': 'false' },
      env: { SSH_AUTH_SOCK: '/a' },
    });
    assert.equal(off.config.bastions[0]?.credentials.agentSocket, undefined);
    const [wrong] = await problemsOf({ flags: { ...flags, 'bastions[].agent': 'yes' } });
    assert.match(wrong?.message ?? '', /neither true nor false/);
  });
});

describe('a configuration with mistakes', () => {
  test('is told all of them at once, each with its place and its fix', async () => {
    const problems = await problemsOf({
      file: `bastions:
  - name: main
    host: "[::1]"
    port: 99999
    user: deploy
    idenityFile: /key
  - { name: main, host: h, user: u, identityFile: /absent, knownHostsFile: /hosts }
tun: { mtu: 10, adress4: 1.2.3.4/30 }
local: 10.0.0.0/8
connectHold: 10
onExit:
`,
      flags: { dialTimeout: '5' },
      env: { NETPROXY_TUN_NAM: 'x', NETPROXY_LOG_LEVEL: 'Debug' },
    });
    const lines = problems.map(({ where, message, hint }) => `${where} | ${message} | ${hint}`).sort();
    const wanted = [
      /^--dial-timeout \| found "5": the unit is missing; allowed: a duration .* \| Write the unit, such as 5s/,
      /^\/c\.yaml:10:14 connectHold \| found "10": the unit is missing/,
      /^\/c\.yaml:11:\d+ onExit \| the value is empty; allowed: closed, open \| Remove the key/,
      /^\/c\.yaml:2:5 bastions\[0\] \| identityFile is missing; .* \| Give --identity FILE, set NETPROXY_IDENTITY_FILE/,
      /^\/c\.yaml:2:5 bastions\[0\] \| knownHostsFile is missing/,
      /^\/c\.yaml:3:11 bastions\[0\]\.host \| found "\[::1\]": brackets belong in a URL only; .* \| Write ::1\./,
      /^\/c\.yaml:4:11 bastions\[0\]\.port \| found "99999": out of range; allowed: a port from 1 to 65535 \| .*default, 22/,
      /^\/c\.yaml:6:5 bastions\[0\]\.idenityFile \| no such key; .* \| Did you mean identityFile\?/,
      /^\/c\.yaml:7:\d+ bastions\[1\]\.identityFile \| \/absent: ENOENT/,
      /^\/c\.yaml:7:\d+ bastions\[1\]\.name \| found "main", which is the name of another bastion \(\/c\.yaml:2:11/,
      /^\/c\.yaml:8:\d+ tun\.adress4 \| no such key; .* \| Did you mean address4\?/,
      /^\/c\.yaml:8:13 tun\.mtu \| found "10": out of range/,
      /^\/c\.yaml:9:8 local \| found no list; .* \| Write local: \[/,
      /^NETPROXY_LOG_LEVEL \| found "Debug": .* \| Write debug\./,
      /^NETPROXY_TUN_NAM \| no such variable; .* \| Did you mean NETPROXY_TUN_NAME\?/,
    ];
    assert.equal(lines.length, wanted.length, lines.join('\n'));
    for (const pattern of wanted)
      assert.equal(lines.filter((line) => pattern.test(line)).length, 1, `${pattern}\n${lines.join('\n')}`);
  });

  test('names what is missing when nothing is given', async () => {
    const [problem, ...more] = await problemsOf({});
    assert.equal(more.length, 0);
    assert.match(problem?.hint ?? '', /--bastion .*NETPROXY_BASTION.*bastions/);
  });

  test('says which file cannot be read, and not also that its contents are missing', async () => {
    const problems = await problemsOf({ flags: { config: '/absent.yaml' } });
    assert.deepEqual(
      problems.map(({ code, where, message }) => [code, where, message]),
      [['CONFIG_UNREADABLE', '--config', '/absent.yaml: ENOENT']],
    );
  });

  test('tells YAML that is none, duplicate keys and binary files by their place', async () => {
    const [syntax] = await problemsOf({ file: 'tun: {\n  name: tun0\nx' });
    assert.equal(syntax?.code, 'CONFIG_UNREADABLE');
    assert.match(syntax.where, /^\/c\.yaml:\d+:\d+$/);
    const twice = await problemsOf({ file: fileOf('onExit: open\nonExit: closed') });
    assert.deepEqual(
      twice.map(({ where, message }) => [where, message]),
      [['/c.yaml:3:1', 'the key is given twice']],
    );
  });

  test('is not blown up by nested aliases', async () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i++)
      bomb.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]`);
    const problems = await problemsOf({ file: bomb.join('\n') });
    assert.ok(problems.some(({ message }) => /nested too deep|too many|alias/i.test(message)));
  });

  test('repeats neither a password nor a key that stands where it should not', async () => {
    const secret = 'hunter2hunter2';
    for (const flags of [
      { ...complete, bastion: `ssh://deploy:${secret}@h` },
      { ...complete, bastion: `http://deploy:${secret}@h:99999/x` },
      { ...complete, bastion: `deploy:${secret}@h` },
      { ...complete, 'bastions[].identityFile': `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret}` },
    ]) {
      const problems = await problemsOf({ flags });
      assert.equal(problems.length, 1);
      assert.ok(!JSON.stringify(problems).includes(secret), JSON.stringify(problems));
    }
    const [inFile] = await problemsOf({ file: fileOf('').replace('host: h', `host: "u:${secret}@h"`) });
    assert.ok(inFile !== undefined && !JSON.stringify(inFile).includes(secret));
  });
});

describe('the environment', () => {
  test('may hold what Kubernetes and Docker add for a service named netproxy', async () => {
    await load({
      flags: complete,
      env: {
        NETPROXY_SERVICE_HOST: '10.0.0.1',
        NETPROXY_SERVICE_PORT: '80',
        NETPROXY_SERVICE_PORT_HTTP: '80',
        NETPROXY_PORT: 'tcp://10.0.0.1:80',
        NETPROXY_PORT_80_TCP: 'tcp://10.0.0.1:80',
        NETPROXY_PORT_80_TCP_PROTO: 'tcp',
        NETPROXY_PORT_80_TCP_ADDR: '10.0.0.1',
        NETPROXY_INJECTOR_SERVICE_HOST: '10.0.0.1',
        NETPROXY_INJECTOR_PORT: 'tcp://10.0.0.1:443',
        NETPROXY_INJECTOR_PORT_443_TCP_PORT: '443',
        NETPROXY_NAME: '/app/netproxy',
        NETPROXY_TUN_NAME: '',
        OTHER: 'x',
      },
    });
  });

  test('may not hold a misspelt setting that only looks like one of those', async () => {
    const problems = await problemsOf({ flags: complete, env: { NETPROXY_BASTION_PORT: '22' } });
    assert.deepEqual(
      problems.map(({ where }) => where),
      ['NETPROXY_BASTION_PORT'],
    );
  });
});

describe('the host configuration', () => {
  test('needs no bastion and reads no key', async () => {
    const { config } = await loadHostConfig(sources({ flags: { 'tun.name': 'tun7' } }));
    assert.equal(config.tun.name, 'tun7');
    await loadHostConfig(sources({ file: 'bastions: [{ name: a, identityFile: /absent }]' }));
  });

  test('still refuses what is wrong', async () => {
    await assert.rejects(loadHostConfig(sources({ file: 'bastions: [{ name: a, port: 0 }]' })), /port/);
  });
});
