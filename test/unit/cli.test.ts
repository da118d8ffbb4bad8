import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseArguments } from '../../src/cli/arguments.ts';
import { COMMAND_NAMES, COMMANDS, SHELLS } from '../../src/cli/catalogue.ts';
import type { Commands } from '../../src/cli/commands.ts';
import { completion } from '../../src/cli/completion.ts';
import { dispatch } from '../../src/cli/dispatch.ts';
import { commandHelp } from '../../src/cli/help.ts';
import { paint, wantsColour } from '../../src/cli/style.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { NetproxyError, ProblemsError } from '../../src/core/errors.ts';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'netproxy-cli-'));
  writeFileSync(join(folder, 'key'), 'SECRET-KEY-BYTES');
  writeFileSync(join(folder, 'known_hosts'), 'h ssh-ed25519 AAAA\n');
});
after(() => {
  rmSync(folder, { recursive: true });
});

const bastion = (): string[] => [
  '--bastion',
  'ssh://deploy@bastion.example',
  '--identity',
  join(folder, 'key'),
  '--known-hosts',
  join(folder, 'known_hosts'),
];

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the command line in this process, with parts that do as `commands` says. */
async function cli(
  argv: readonly string[],
  options: {
    commands?: Partial<Commands>;
    env?: Record<string, string>;
    terminal?: boolean;
    signal?: string;
    uncaught?: (tell: (error: unknown) => number) => void;
  } = {},
): Promise<Outcome> {
  const outcome: Outcome = { code: -1, stdout: '', stderr: '' };
  const unexpected = (): never => assert.fail('this command is not expected');
  const terminal = options.terminal ?? false;
  outcome.code = await dispatch({
    argv,
    environment: options.env ?? {},
    stdout: { terminal, write: (text) => void (outcome.stdout += text) },
    stderr: { terminal, write: (text) => void (outcome.stderr += text) },
    version: '1.2.3',
    loadCommands: async () => ({
      run: async () => unexpected(),
      check: async () => [],
      judge: async () => [],
      keyscan: async () => [],
      doctor: async () => [],
      namespace: async () => ({}),
      plan: async () => unexpected(),
      release: async () => unexpected(),
      exec: async () => unexpected(),
      attach: async () => unexpected(),
      reattach: async () => unexpected(),
      containers: async () => unexpected(),
      ...options.commands,
    }),
    loadInjector: async () => assert.fail('not expected'),
    onUncaught: (tell) => {
      options.uncaught?.(tell);
    },
    stopOnSignals: () =>
      options.signal === undefined ? new AbortController().signal : AbortSignal.abort(options.signal),
  });
  return outcome;
}

describe('arguments', () => {
  test('give the command, the flags and the operands', () => {
    const args = parseArguments([
      'run',
      '-c',
      'a.yaml',
      '--local=10.0.0.0/8',
      '--local',
      'fd00::/8',
      '--tun-mtu=9000',
    ]);
    assert.deepEqual(args.problems, []);
    assert.equal(args.command, 'run');
    assert.deepEqual(
      [...args.flags].map(([id, given]) => [id, given.map(({ text }) => text)]),
      [
        ['config', ['a.yaml']],
        ['local', ['10.0.0.0/8', 'fd00::/8']],
        ['tun.mtu', ['9000']],
      ],
    );
  });

  test('take the command wherever it stands', () => {
    const args = parseArguments(['--tun-mtu', '9000', 'plan']);
    assert.equal(args.command, 'plan');
    assert.deepEqual(args.problems, []);
  });

  for (const [argv, wanted] of [
    [
      ['rnu'],
      [`"rnu": no such command; allowed: ${COMMAND_NAMES.join(', ')} | Did you mean "netproxy run"?`],
    ],
    [
      ['run', '--idntity', 'x'],
      [
        '--idntity: no such flag | Did you mean --identity?',
        '"x": "netproxy run" takes no operand | undefined',
      ],
    ],
    [
      ['run', '--identity'],
      ['--identity: the value is missing; allowed: the path of a file | Write --identity FILE.'],
    ],
    [
      ['run', '--identity', '--known-hosts', 'x'],
      [
        '--identity: the value is missing; allowed: the path of a file | Write --identity FILE.',
        '"x": "netproxy run" takes no operand | undefined',
      ],
    ],
    [
      ['run', '--tun-mtu', '1', '--tun-mtu=2'],
      ['--tun-mtu: given more than once; it takes one value | Keep one.'],
    ],
    [['run', '--help=yes'], ['--help: takes no value | undefined']],
    [
      ['plan', '--identity', 'x'],
      ['--identity: not a flag of "plan" | Run "netproxy help plan" for its flags.'],
    ],
    [['run', 'now'], ['"now": "netproxy run" takes no operand | undefined']],
    [['help', 'rnu'], [`"rnu": allowed: ${COMMAND_NAMES.join(', ')} | Did you mean run?`]],
    [['help', 'run', 'check'], ['"check": "netproxy help" takes one operand | undefined']],
    [['completion', 'tcsh'], ['"tcsh": allowed: bash, zsh, fish | Name one of them.']],
    [['run', '-x'], ['-x: no such flag | Run "netproxy help run" for its flags.']],
  ] as const) {
    test(`tell what is wrong with "${argv.join(' ')}"`, () => {
      const told = parseArguments(argv).problems.map(
        ({ where, message, hint }) => `${where}: ${message} | ${hint}`,
      );
      assert.deepEqual(told, wanted);
    });
  }
});

describe('the command line', () => {
  test('prints help, to whoever asks, on stdout', async () => {
    for (const argv of [['--help'], ['-h'], ['help']]) {
      const { code, stdout, stderr } = await cli(argv);
      assert.deepEqual([code, stderr], [0, '']);
      for (const name of COMMAND_NAMES) assert.ok(stdout.includes(`  ${name} `));
    }
    for (const name of COMMAND_NAMES) {
      const asked = await cli(['help', name]);
      assert.deepEqual(await cli([name, '--help', '--bogus']), asked);
      assert.equal(asked.code, 0);
      for (const heading of ['Usage', 'Examples', 'Exit codes'])
        assert.ok(asked.stdout.includes(`${heading}\n`));
    }
  });

  test('lists every flag with its variable and default in the help of run, or of the injector', () => {
    const [run, injector] = (['run', 'injector'] as const).map((name) =>
      commandHelp(name, paint(false)).replaceAll(/\s+/g, ' '),
    );
    for (const row of SETTINGS.values()) {
      const help = row.group === 'Injector' ? injector! : run!;
      if (row.flag === undefined) continue;
      assert.ok(help.includes(`--${row.flag} ${row.kind.placeholder} ${row.description}`), row.flag);
      if (row.default !== undefined) assert.ok(help.includes(`Default: ${row.default}.`));
      if (row.env !== undefined) assert.ok(help.includes(`Environment: ${row.env}`));
    }
    for (const line of commandHelp('run', paint(false)).split('\n')) assert.ok(line.length <= 120, line);
  });

  test('prints its version', async () => {
    assert.deepEqual(await cli(['--version']), { code: 0, stdout: 'netproxy 1.2.3\n', stderr: '' });
  });

  test('tells mistakes of flags, environment and files in one run, and exits 64', async () => {
    const { code, stdout, stderr } = await cli(
      ['run', '--tun-mtu', '1', '--foo', '--identity', join(folder, 'absent')],
      {
        env: { NETPROXY_BASTON: 'x', NETPROXY_BASTION: 'ssh://u@h' },
      },
    );
    assert.equal(code, 64);
    assert.equal(stdout, '');
    for (const part of [
      '--tun-mtu: found "1"',
      '--foo: no such flag',
      '--identity: ',
      'ENOENT',
      'NETPROXY_BASTON',
      'knownHostsFile is missing',
      '5 errors',
    ]) {
      assert.ok(stderr.includes(part), `${part}\n${stderr}`);
    }
    for (const line of stderr.trimEnd().split('\n'))
      assert.match(line, /^(error [A-Z_]+: |  fix: |\d+ errors$)/);
  });

  test('tells them as JSON when JSON is wanted', async () => {
    for (const argv of [
      ['check', '--json', '--foo'],
      ['check', '--log-format', 'json', '--foo'],
    ]) {
      const { code, stderr } = await cli(argv);
      const told = JSON.parse(stderr) as { code: string; problems: { where: string; hint: string }[] };
      assert.equal(code, 64);
      assert.equal(told.code, 'CONFIG_INVALID');
      assert.deepEqual(
        told.problems.map(({ where }) => where),
        ['--foo', '--bastion'],
      );
    }
  });

  test('check prints the configuration in effect, masked', async () => {
    const human = await cli(['check', ...bastion(), '--local', '10.0.0.0/8']);
    assert.equal(human.code, 0, human.stderr);
    assert.match(human.stdout, /^bastions\[0\]\.identityFile +\[\S+key\] +--identity$/m);
    assert.match(human.stdout, /^local +\[10\.0\.0\.0\/8\] +--local$/m);
    const json = await cli(['check', ...bastion(), '--json']);
    const { settings } = JSON.parse(json.stdout) as {
      settings: { key: string; value: string; origin: string }[];
    };
    assert.deepEqual(
      settings.find(({ key }) => key === 'connectHold'),
      { key: 'connectHold', value: '10s', origin: 'default' },
    );
    assert.ok(!(human.stdout + json.stdout).includes('SECRET-KEY'));
  });

  test('check tells what the parts found', async () => {
    const { code, stderr } = await cli(['check', ...bastion()], {
      commands: {
        check: async () => [
          { code: 'CREDENTIAL_UNREADABLE', where: '--identity', message: 'no key', hint: 'Make one.' },
        ],
      },
    });
    assert.equal(code, 64);
    assert.equal(stderr, 'error CREDENTIAL_UNREADABLE: --identity: no key\n  fix: Make one.\n');
  });

  test('run prints one line when ready, and exits by the signal that ended it', async () => {
    for (const [signal, exit] of [
      ['SIGTERM', 0],
      ['SIGINT', 130],
    ] as const) {
      const run: Commands['run'] = async (config, io, ready) => {
        assert.equal(config.bastions[0]?.host, 'bastion.example');
        ready('ready: main');
        ready('again');
        assert.ok(io.stop.aborted);
      };
      assert.deepEqual(await cli(['run', ...bastion()], { commands: { run }, signal }), {
        code: exit,
        stdout: 'ready: main\n',
        stderr: '',
      });
    }
  });

  test('plan and release need no bastion', async () => {
    const seen: string[] = [];
    const commands: Partial<Commands> = {
      plan: async (config, io) => {
        seen.push(config.tun.name);
        io.print('nothing\n');
      },
      release: async (config) => void seen.push(config.onExit),
    };
    assert.deepEqual(await cli(['plan', '--tun-name', 'tun7'], { commands }), {
      code: 0,
      stdout: 'nothing\n',
      stderr: '',
    });
    assert.equal((await cli(['release'], { commands })).code, 0);
    assert.deepEqual(seen, ['tun7', 'closed']);
  });

  test('tells errors of the parts by their code, and those that nobody expected as INTERNAL', async () => {
    const failing = (error: unknown): Partial<Commands> => ({
      release: async () => {
        throw error;
      },
    });
    const known = await cli(['release'], {
      commands: failing(new NetproxyError('NATIVE_MISSING', 'no addon', { hint: 'a\nb' })),
    });
    assert.deepEqual([known.code, known.stderr], [1, 'error NATIVE_MISSING: no addon\n  fix: a\n       b\n']);
    const unexpected = await cli(['release'], { commands: failing(new TypeError('x is not a function')) });
    assert.equal(unexpected.code, 1);
    assert.match(
      unexpected.stderr,
      /^error INTERNAL: x is not a function\n  fix: Report it .*--log-level debug.*\n$/,
    );
    const debug = await cli(['release', '--log-level', 'debug'], {
      commands: failing(new TypeError('x is not a function')),
    });
    assert.match(debug.stderr, /caused by: TypeError: x is not a function\n    at /);
    assert.equal((await cli(['release'], { commands: failing('a string') })).code, 1);
  });

  test('tells an exception that nobody caught in the same form', async () => {
    let tell: ((error: unknown) => number) | undefined;
    const { stderr } = await cli(['release', '--log-format', 'json'], {
      uncaught: (given) => (tell = given),
      commands: { release: async () => void tell?.(new TypeError('late')) },
    });
    assert.equal((JSON.parse(stderr) as { code: string; msg: string }).msg, 'late');
    assert.equal(tell?.(new NetproxyError('CONFIG_INVALID', 'x')), 64);
  });

  test('says which source gave what the parts refuse', async () => {
    const file = join(folder, 'netproxy.yaml');
    writeFileSync(
      file,
      `bastions:\n  - { name: a, host: h, user: u, identityFile: ${folder}/key, knownHostsFile: ${folder}/known_hosts }\n`,
    );
    const problem = {
      code: 'CREDENTIAL_UNREADABLE',
      where: 'bastions[0].identityFile',
      message: 'no key',
    } as const;
    const commands: Partial<Commands> = {
      run: async () => {
        throw new ProblemsError([problem]);
      },
    };
    const byFile = await cli(['run', '-c', file], { commands });
    assert.match(
      byFile.stderr,
      /^error CREDENTIAL_UNREADABLE: \S+netproxy\.yaml:2:\d+ bastions\[0\]\.identityFile: no key\n/,
    );
    assert.match(
      (await cli(['run', ...bastion()], { commands })).stderr,
      /^error CREDENTIAL_UNREADABLE: --identity: no key\n/,
    );
  });

  test('colours only a terminal without NO_COLOR', async () => {
    assert.ok((await cli(['--foo'], { terminal: true })).stderr.includes('\u001b['));
    assert.ok(!(await cli(['--foo'], { terminal: true, env: { NO_COLOR: '1' } })).stderr.includes('\u001b['));
    assert.ok(!(await cli(['--foo'])).stderr.includes('\u001b['));
    assert.equal(wantsColour(true, { TERM: 'dumb' }), false);
  });
});

describe('completion', () => {
  for (const shell of SHELLS) {
    test(`for ${shell} knows every command and flag`, () => {
      const script = completion(shell);
      for (const name of COMMAND_NAMES) assert.ok(script.includes(name));
      for (const id of COMMANDS.run.settings)
        assert.ok(script.includes(SETTINGS.get(id)?.flag ?? assert.fail()));
    });
  }
});

describe('the program', () => {
  const main = new URL('../../src/main.ts', import.meta.url).pathname;
  const program = (...argv: string[]): Outcome => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...argv], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    });
    return { code: status ?? -1, stdout, stderr };
  };

  test('prints help and version, and exits 64 on a mistake', () => {
    assert.match(program('--version').stdout, /^netproxy \d+\.\d+\.\d+\n$/);
    assert.match(program('help', 'run').stdout, /^netproxy run: /);
    const { code, stdout, stderr } = program('run', '--bastoin', 'x');
    assert.deepEqual([code, stdout], [64, '']);
    assert.match(stderr, /Did you mean --bastion\?/);
  });

  test('bears a reader that goes away', () => {
    const { stderr } = spawnSync(
      'bash',
      ['-c', `set -o pipefail; "${process.execPath}" "${main}" help run | head -1`],
      { encoding: 'utf8' },
    );
    assert.equal(stderr, '');
  });
});
