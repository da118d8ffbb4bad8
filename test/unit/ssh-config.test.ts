/** ssh_config: read, matched and taken over. What holds for a host is what OpenSSH's own client says. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { parse } from 'ssh-config';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Loaded } from '../../src/config/load.ts';
import { fileReader } from '../../src/config/read-file.ts';
import { BadSshConfig, readLines } from '../../src/config/ssh-config/lines.ts';
import { SshConfig } from '../../src/config/ssh-config/ssh-config.ts';
import { ProblemsError } from '../../src/core/errors.ts';
import type { Problem } from '../../src/core/errors.ts';

const user = os.userInfo().username;
let folder: string;
let file: string;
before(() => {
  folder = mkdtempSync(join(os.tmpdir(), 'netproxy-ssh-config-'));
  file = join(folder, 'config');
  writeFileSync(join(folder, 'known_hosts'), 'h ssh-ed25519 AAAA\n');
  for (const name of ['key', 'key2']) writeFileSync(join(folder, name), 'PRIVATE');
});
after(() => rmSync(folder, { recursive: true }));

const write = (text: string, name = 'config'): void => writeFileSync(join(folder, name), text);

async function open(problems: Problem[] = []): Promise<SshConfig> {
  return SshConfig.read({
    ...{ file, where: '--ssh-config', environment: {}, problems },
    local: { name: user, home: folder, uid: 0, hostName: 'here.example' },
    readFile: fileReader('CONFIG_UNREADABLE'),
  });
}

/** What the first file says of `host`, by keyword. */
async function values(host: string): Promise<Record<string, string>> {
  const resolved = (await open()).resolve({ host, user: undefined });
  return Object.fromEntries([...resolved.values].map(([key, { args }]) => [key, args.join(' ')]));
}

describe('which values hold', () => {
  const cases: [string, string, Record<string, string>][] = [
    ['the first counts', 'Port 1\nHost a\nPort 2\n', { port: '1' }],
    ['of a Host that matches', 'Host b\nPort 1\nHost a b\nPort 2\nHost *\nUser u', { port: '2', user: 'u' }],
    ['not where a pattern excludes it', 'Host * !a\nPort 1\nHost ?\nPort 2', { port: '2' }],
    ['keywords in any case, and "="', 'hOsT=a\n  PORT = 3\n', { port: '3' }],
    ['quotes and comments', '# x\nHost "a" # y\n\tUser "u v"\n', { user: 'u v' }],
    ['Match all', 'Match all\nPort 4', { port: '4' }],
    [
      'Match host is asked of HostName',
      'Host a\nHostName %h.example\nMatch host a.example\nPort 5',
      { port: '5' },
    ],
    ['Match originalhost is not', 'Host a\nHostName x\nMatch originalhost a\nPort 6', { port: '6' }],
    ['Match user sees a User before', 'User u\nMatch user u,v host a\nPort 7', { port: '7' }],
    ['Match localuser', `Match localuser ${user}\nPort 8`, { port: '8' }],
    ['a criterion that is negated', 'Match !host b\nPort 9\nMatch !host a\nUser x', { port: '9' }],
    [
      'Match final comes last',
      'Match final host a\nPort 1\nUser u\nHost a\nPort 2',
      { port: '2', user: 'u' },
    ],
    ['ProxyJump before ProxyCommand', 'ProxyJump j\nProxyCommand c', { proxyjump: 'j' }],
    ['ProxyCommand before ProxyJump', 'ProxyCommand c d\nProxyJump j', { proxycommand: 'c d' }],
  ];
  for (const [name, text, expected] of cases) {
    test(name, async () => {
      write(text);
      const found = await values('a');
      for (const [key, value] of Object.entries(expected)) assert.equal(found[key], value);
      assert.ok(!('proxycommand' in found && 'proxyjump' in found));
    });
  }

  test('files that are included, in the order of their names, and only where the block holds', async () => {
    mkdirSync(join(folder, '.ssh'), { recursive: true });
    mkdirSync(join(folder, 'parts'), { recursive: true });
    write('Port 1\nHost other\nUser other\n', 'parts/1.conf');
    write('Port 2\nUser two\n', 'parts/2.conf');
    write('IdentityFile inner', '.ssh/relative');
    write(`Host a\nInclude ${folder}/parts/*.conf ${folder}/absent relative\nHost b\nPort 9\nInclude config`);
    assert.deepEqual([(await values('a'))['port'], (await values('a'))['user']], ['1', 'two']);
    const { lists } = (await open()).resolve({ host: 'a', user: undefined });
    assert.deepEqual(
      lists.get('identityfile')?.map(({ where }) => where),
      [`${folder}/.ssh/relative:1:1 IdentityFile`],
    );
  });

  test('a file that includes itself ends', async () => {
    write(`Include ${file}\nPort 3`);
    assert.equal((await values('a'))['port'], '3');
  });

  test('blocks whose criteria are not looked at are left out, and told when all else holds', async () => {
    write('Match host b exec "x"\nPort 1\nMatch host a exec "touch /tmp/no"\nPort 2\nHost a\nPort 3');
    const { values: found, skipped } = (await open()).resolve({ host: 'a', user: undefined });
    assert.equal(found.get('port')?.args[0], '3');
    assert.deepEqual(
      skipped.map(({ block, criterion }) => [block.where, criterion]),
      [[`${file}:3:1 Match`, 'exec']],
    );
  });

  const ssh = (host: string): Map<string, string[]> => {
    const said = new Map<string, string[]>();
    const text = execFileSync('ssh', ['-G', '-F', file, host], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const line of text.trim().split('\n')) {
      const [, key = '', value = ''] = /^(\S+) ?(.*)$/.exec(line) ?? [];
      said.set(key, [...(said.get(key) ?? []), value]);
    }
    return said;
  };
  test('are those that ssh -G says, of any file', { skip: !existsSync('/usr/bin/ssh') }, async () => {
    const word = fc.constantFrom('a', 'b', 'a.example', 'ab');
    const pattern = fc.constantFrom('a', 'b', '*', '?', 'a*', '!a', '!b', '*.example', '!*b');
    const setting = fc.oneof(
      fc.integer({ min: 1, max: 9 }).map((port) => `Port ${port}`),
      word.map((name) => `User ${name}`),
      fc.constantFrom('a', 'b', '%h.example').map((name) => `HostName ${name}`),
      word.map((name) => `IdentityFile /k/${name}`),
      word.map((name) => `HostKeyAlias=${name}`),
      fc.integer({ min: 0, max: 5 }).map((s) => `ServerAliveInterval "${s}"`),
      fc.constantFrom('j', 'u@k:2,j', 'none').map((hops) => `ProxyJump ${hops}`),
      fc.constant('ProxyCommand none'),
      fc.constant('Include INCLUDED'),
    );
    const criterion = fc.oneof(
      fc
        .tuple(fc.constantFrom('', '!'), fc.constantFrom('host', 'originalhost', 'user'), pattern)
        .map(([not, key, value]) => `${not}${key} ${value.replace(/^!/, '')}`),
      fc.constantFrom('final', '!final'),
    );
    const block = fc.oneof(
      fc.array(pattern, { minLength: 1, maxLength: 3 }).map((list) => `Host ${list.join(' ')}`),
      fc.array(criterion, { minLength: 1, maxLength: 3 }).map((list) => `Match ${list.join(' ')}`),
      fc.constant('Match all'),
    );
    const lines = fc.array(fc.oneof({ weight: 2, arbitrary: setting }, block), { maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(lines, lines, word, async (outer, inner, host) => {
        write(outer.join('\n').replaceAll('INCLUDED', join(folder, 'included')));
        write(inner.filter((line) => !line.startsWith('Include')).join('\n'), 'included');
        const said = ssh(host);
        const { values: found, lists } = (await open()).resolve({ host, user: undefined });
        const text = (key: string): string | undefined => found.get(key)?.args.join(' ');
        const context = `${outer.join('\n')}\n--- included\n${inner.join('\n')}\n--- ${host}`;
        assert.equal(text('port') ?? '22', said.get('port')![0], context);
        assert.equal(text('user') ?? user, said.get('user')![0], context);
        assert.equal(text('hostname')?.replaceAll('%h', host) ?? host, said.get('hostname')![0], context);
        assert.equal(text('hostkeyalias'), said.get('hostkeyalias')?.[0], context);
        assert.equal(text('serveraliveinterval') ?? '0', said.get('serveraliveinterval')![0], context);
        const jump = text('proxyjump') === 'none' ? undefined : text('proxyjump');
        assert.equal(jump, said.get('proxyjump')?.[0], context);
        const files = lists.get('identityfile')?.map(({ args }) => args[0]);
        if (files !== undefined) assert.deepEqual(files, said.get('identityfile'), context);
      }),
      { numRuns: 150 },
    );
  });
});

describe('what cannot be read', () => {
  const wrong: [string, string, number, RegExp][] = [
    ['a quote that is not closed', 'Host a\n  User "x\n', 2, /a quote is not closed/],
    ['a keyword without a value', 'Host a\nPort\nUser u\n', 2, /Port has no value/],
    ['a Host without a name', '\n\nHost\n', 3, /./],
    ['a criterion without a value', 'Match host\n', 1, /criterion without a value/],
  ];
  for (const [name, text, line, message] of wrong) {
    test(name, async () => {
      write(text);
      const problems: Problem[] = [];
      await open(problems);
      assert.equal(problems.length, 1);
      assert.equal(problems[0]!.where, `${file}:${line}`);
      assert.match(problems[0]!.message, message);
    });
  }

  test('is told, whatever it is, and never anything else thrown', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        'Host ',
        'Match ',
        'Include',
        '=',
        '"',
        '\\',
        '#',
        '\n',
        '\r\n',
        '\t',
        ' ',
        '!',
        '*',
        '__proto__ ',
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
        (text) => {
          try {
            for (const { where, args, keyword } of readLines(text, 'f', parse)) {
              assert.match(where, /^f:\d+:\d+ /);
              assert.ok(args.length > 0 && keyword === keyword.toLowerCase());
            }
          } catch (error) {
            assert.ok(error instanceof BadSshConfig, String(error));
            assert.ok(error.line >= 1 && error.line <= text.split('\n').length);
          }
        },
      ),
    );
  });

  test('places are those in the text', () => {
    const text = '# one\n\nHost a\n   Port 1\r\n\n\n\tUser u # x\nHost b\nPort 2';
    const lines = text.split('\n');
    for (const { where, name } of readLines(text, 'f', parse)) {
      const [, line, column] = /^f:(\d+):(\d+) /.exec(where)!;
      assert.ok(lines[Number(line) - 1]!.slice(Number(column) - 1).startsWith(name), where);
    }
  });
});

describe('a configuration', () => {
  interface Given {
    readonly yaml?: string;
    readonly env?: Record<string, string>;
  }
  const load = ({ yaml, env = {} }: Given): Promise<Loaded<Config>> => {
    if (yaml !== undefined) write(yaml, 'netproxy.yaml');
    const environment = {
      NETPROXY_SSH_CONFIG: file,
      ...(yaml === undefined ? {} : { NETPROXY_CONFIG: join(folder, 'netproxy.yaml') }),
      ...env,
    };
    return loadConfig({ flags: new Map(), environment });
  };
  const problemsOf = async (given: Given): Promise<readonly string[]> => {
    try {
      await load(given);
    } catch (error) {
      assert.ok(error instanceof ProblemsError, String(error));
      return error.problems.map(({ where, message, hint }) => `${where} | ${message} | ${hint}`);
    }
    return [];
  };
  const login = (): string =>
    `Host *\nIdentityFile ${folder}/key\nUserKnownHostsFile ${folder}/known_hosts\nGlobalKnownHostsFile none\n`;

  test('is an alias and nothing else', async () => {
    write(`Host prod
  HostName bastion.example
  Port 2222
  User deploy
  HostKeyAlias prod.example
  IdentityFile ${folder}/%n-%r
  CertificateFile ${folder}/cert
  IdentitiesOnly yes
  ServerAliveInterval 20
  ServerAliveCountMax 4
  ConnectTimeout 1m
${login()}`);
    writeFileSync(join(folder, 'prod-deploy'), 'PRIVATE');
    writeFileSync(join(folder, 'cert'), 'CERT');
    const { config, origins, warnings } = await load({ env: { NETPROXY_BASTION: 'ssh://prod' } });
    const { credentials, ...bastion } = config.bastions[0]!;
    assert.deepEqual(bastion, {
      name: 'main',
      host: 'bastion.example',
      port: 2222,
      user: 'deploy',
      identityFile: [`${folder}/prod-deploy`, `${folder}/key`],
      identityPassphraseFile: [],
      certificateFile: [`${folder}/cert`],
      agent: undefined,
      passwordFile: undefined,
      keyboardInteractiveFile: undefined,
      auth: [],
      knownHostsFile: [`${folder}/known_hosts`],
      hostKeyAlias: 'prod.example',
      hostKeys: [],
      tofu: undefined,
      algorithms: { ciphers: [], macs: [], kex: [], hostKeys: [] },
      jump: undefined,
      maxConnections: 4,
      keepAlive: 20_000,
      keepAliveMisses: 4,
      handshakeTimeout: 60_000,
    });
    assert.equal(credentials.knownHosts[0]!.file, `${folder}/known_hosts`);
    assert.deepEqual(warnings, []);
    assert.equal(origins.get('bastions[0].host'), `${file}:2:3`);
    assert.equal(origins.get('bastions[0].keepAlive'), `${file}:9:3`);
    assert.equal(origins.get('bastions[0].identityFile'), `${file}:6:3`);
    assert.equal(origins.get('bastions[0].knownHostsFile'), `${file}:14:1`);
  });

  test('wins where it says something itself', async () => {
    write(`Port 1\nUser x\nServerAliveInterval 20\n${login()}`);
    const entry = `name: b, host: h, port: 2, user: u, identityFile: ${folder}/key2, keepAliveMisses: 3`;
    const { config } = await load({ yaml: `bastions: [{ ${entry} }]\nkeepAlive: 7s\n`, env: {} });
    const [bastion] = config.bastions;
    assert.deepEqual(
      [bastion!.port, bastion!.user, bastion!.identityFile, bastion!.keepAlive, bastion!.keepAliveMisses],
      [2, 'u', [`${folder}/key2`], 7000, 3],
    );
    assert.deepEqual(bastion!.knownHostsFile, [`${folder}/known_hosts`]);
    const env = { NETPROXY_KEEP_ALIVE: '9s', NETPROXY_IDENTITY_FILE: `${folder}/key` };
    const flagged = await load({ yaml: `bastions: [{ ${entry} }]`, env });
    assert.deepEqual(
      [flagged.config.bastions[0]!.keepAlive, flagged.config.bastions[0]!.identityFile],
      [9000, [`${folder}/key`]],
    );
  });

  test('goes through the hops of ProxyJump, each with what ssh_config says of it', async () => {
    write(`Host core
  ProxyJump edge,other@inner:2222
Host edge
  HostName edge.example
  User jump
  IdentityFile ${folder}/key2
Host inner
  ProxyJump not-asked
${login()}`);
    const { config, origins } = await load({ env: { NETPROXY_BASTION: 'ssh://u@core,ssh://u@edge' } });
    assert.deepEqual(
      config.bastions.map(({ name, user: who, host, port, jump, identityFile }) => [
        ...[name, who, host, port, jump],
        identityFile.map((path) => path.slice(folder.length + 1)).join(),
      ]),
      [
        ['main', 'u', 'core', 22, 'inner', 'key'],
        ['main2', 'u', 'edge.example', 22, undefined, 'key2,key'],
        ['edge', 'jump', 'edge.example', 22, undefined, 'key2,key'],
        ['inner', 'other', 'inner', 2222, 'edge', 'key'],
      ],
    );
    assert.equal(origins.get('bastions[0].jump'), `${file}:2:3`);
    assert.equal(origins.get('bastions[3].host'), `${file}:2:3`);
  });

  test('has hops in common once, names of its own, and may leave a ProxyJump out', async () => {
    write(`Host a b c\nProxyJump edge\n${login()}`);
    const yaml = `bastions:
  - { name: edge, host: a, user: u }
  - { name: two, host: b, user: u }
  - { name: three, host: c, user: u, jump: none }`;
    const { config } = await load({ yaml });
    assert.deepEqual(
      config.bastions.map(({ name, jump }) => [name, jump]),
      [
        ['edge', 'edge-2'],
        ['two', 'edge-2'],
        ['three', undefined],
        ['edge-2', undefined],
      ],
    );
  });

  test('with an agent uses the public half of a key that only the agent can unlock', async () => {
    const locked = join(folder, 'locked');
    rmSync(locked, { force: true });
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'secret', '-f', locked]);
    const socket = join(folder, 'agent');
    const server = createServer().listen(socket);
    try {
      write(`IdentityFile ${locked}\nIdentityFile ${folder}/key\n${login()}`);
      const bastion = { NETPROXY_BASTION: 'ssh://u@h' };
      const with_ = await load({ env: { ...bastion, SSH_AUTH_SOCK: socket } });
      assert.deepEqual(with_.config.bastions[0]!.identityFile, [`${locked}.pub`, `${folder}/key`]);
      assert.equal(with_.config.bastions[0]!.credentials.agentSocket, socket);
      const without = await load({ env: bastion });
      assert.deepEqual(without.config.bastions[0]!.identityFile, [locked, `${folder}/key`]);
      assert.equal(without.config.bastions[0]!.credentials.agentSocket, undefined);
      write(`IdentityAgent none\n${login()}`);
      const none = await load({ env: { ...bastion, SSH_AUTH_SOCK: socket } });
      assert.equal(none.config.bastions[0]!.credentials.agentSocket, undefined);
      write(`IdentitiesOnly yes\nIdentityAgent ${socket}\n${login()}`);
      const only = await load({ env: bastion });
      assert.equal(only.config.bastions[0]!.credentials.agentSocket, undefined);
    } finally {
      server.close();
    }
  });

  test('is never less strict for it, and says so', async () => {
    for (const word of ['no', 'off', 'accept-new']) {
      write(`StrictHostKeyChecking ${word}\n${login()}`);
      const { warnings } = await load({ env: { NETPROXY_BASTION: 'ssh://u@h' } });
      assert.deepEqual(warnings, [
        {
          where: `${file}:1:1 StrictHostKeyChecking`,
          message: `"${word}" is not taken over: the host key must be known`,
        },
      ]);
    }
    write(`StrictHostKeyChecking ask\nServerAliveInterval 0\n${login()}`);
    const { config, warnings } = await load({ env: { NETPROXY_BASTION: 'ssh://u@h' } });
    assert.deepEqual([warnings, config.bastions[0]!.keepAlive], [[], 5000]);
  });

  test('trusts pinned keys alone, whatever known_hosts files ssh has', async () => {
    write(login());
    const pin = `SHA256:${'A'.repeat(43)}`;
    const { config } = await load({ env: { NETPROXY_BASTION: 'ssh://u@h', NETPROXY_HOST_KEYS: pin } });
    assert.deepEqual([config.bastions[0]!.hostKeys, config.bastions[0]!.knownHostsFile], [[pin], []]);
  });

  test('has the algorithms that ssh_config chooses, but none that are weak', async () => {
    write(`Ciphers aes256-cbc,aes256-gcm@openssh.com
MACs -hmac-sha2-*-etm@openssh.com
KexAlgorithms ^ecdh-sha2-nistp256
HostKeyAlgorithms +ssh-dss
${login()}`);
    const { config, warnings } = await load({ env: { NETPROXY_BASTION: 'ssh://u@h' } });
    const { ciphers, macs, kex, hostKeys } = config.bastions[0]!.algorithms;
    assert.deepEqual(ciphers, ['aes256-gcm@openssh.com']);
    assert.deepEqual(macs, ['hmac-sha2-256', 'hmac-sha2-512']);
    assert.deepEqual([kex[0], kex[1], kex.length], ['ecdh-sha2-nistp256', 'curve25519-sha256', 9]);
    assert.deepEqual(hostKeys, []);
    assert.deepEqual(
      warnings.map(({ message }) => message.split(': ')[1]),
      ['aes256-cbc', 'ssh-dss'],
    );
    const asked = await load({ env: { NETPROXY_BASTION: 'ssh://u@h', NETPROXY_CIPHERS: 'aes128-ctr' } });
    assert.deepEqual(asked.config.bastions[0]!.algorithms.ciphers, ['aes128-ctr']);
  });

  test('is refused with the line that cannot be followed', async () => {
    const bastion = { NETPROXY_BASTION: 'ssh://u@h' };
    const wrong: [string, RegExp][] = [
      [`ProxyCommand nc %h %p\n${login()}`, /:1:1 ProxyCommand \| found a command; netproxy runs none/],
      [`Host h\nProxyJump h\n${login()}`, /:2:1 ProxyJump \| found a loop: h -> h;/],
      [`ProxyJump edge\n${login()}`, /:1:1 ProxyJump \| found a loop: edge -> edge;/],
      [`ProxyJump u:secret@edge\n${login()}`, /:1:1 ProxyJump \| a password in a URL/],
      [`Port x\n${login()}`, /:1:1 Port \| found "x": /],
      [`IdentityFile %q\n${login()}`, /:1:1 IdentityFile \| "%q" is none of the tokens/],
      [`Ciphers 3des-cbc\n${login()}`, /:1:1 Ciphers \| found "3des-cbc", none of which may be used/],
      [`ConnectTimeout soon\n${login()}`, /:1:1 ConnectTimeout \| found "soon", which is no time/],
    ];
    for (const [text, pattern] of wrong) {
      write(text);
      const told = await problemsOf({ env: bastion });
      assert.equal(told.length, 1, told.join('\n'));
      assert.match(told[0]!, pattern);
      assert.doesNotMatch(told[0]!, /secret/);
    }
    const absent = await problemsOf({ env: { ...bastion, NETPROXY_SSH_CONFIG: join(folder, 'no/such') } });
    assert.match(absent[0]!, /^NETPROXY_SSH_CONFIG \| .*no\/such: ENOENT/);
  });

  test('that does not ask for it has none of it', async () => {
    write(`Host prod\nHostName elsewhere\nUser u\n${login()}`);
    const env = { NETPROXY_BASTION: 'ssh://prod', NETPROXY_SSH_CONFIG: 'false' };
    const told = await problemsOf({ env });
    assert.match(told[0]!, /NETPROXY_BASTION \| .*the user is missing/);
  });
});
