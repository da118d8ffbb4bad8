/** What the commands about containers print, and their exit codes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { parseArguments } from '../../src/cli/arguments.ts';
import type { Commands, ToldContainer, ToldRepair } from '../../src/cli/commands.ts';
import { completion } from '../../src/cli/completion.ts';
import { dispatch } from '../../src/cli/dispatch.ts';

async function cli(
  argv: readonly string[],
  commands: Partial<Commands>,
): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const unexpected = (): never => assert.fail('not expected');
  const code = await dispatch({
    argv,
    environment: { DOCKER_HOST: 'unix:///s' },
    stdout: { terminal: false, write: (text) => void (out += text) },
    stderr: { terminal: false, write: (text) => void (err += text) },
    version: '1',
    loadCommands: async () => ({
      ...{
        run: unexpected,
        plan: unexpected,
        release: unexpected,
        doctor: unexpected,
        namespace: unexpected,
        keyscan: unexpected,
      },
      ...{
        check: unexpected,
        judge: unexpected,
        exec: unexpected,
        attach: unexpected,
        reattach: unexpected,
        containers: unexpected,
      },
      ...commands,
    }),
    loadInjector: async () => assert.fail('not expected'),
    onUncaught: () => {},
    stopOnSignals: () => AbortSignal.abort('SIGINT'),
  });
  return { code, out, err };
}

const repair = (made: Partial<ToldRepair>): ToldRepair => ({
  container: { id: 'b', name: 'app' },
  provider: { id: 'a', name: 'way' },
  kind: 'restart',
  why: 'because',
  done: true,
  ...made,
});

describe('netproxy reattach', () => {
  const reattach = (
    repairs: readonly ToldRepair[],
    ...argv: string[]
  ): Promise<{ code: number; out: string; err: string }> =>
    cli(['reattach', ...argv], { reattach: async () => repairs });

  test('hands on what was asked', async () => {
    const asked: unknown[] = [];
    const { code } = await cli(['reattach', 'way', '--dry-run'], {
      reattach: async ({ environment, ...rest }) => {
        asked.push(environment['DOCKER_HOST'], rest);
        return [];
      },
    });
    assert.deepEqual([code, asked], [0, ['unix:///s', { dryRun: true, provider: 'way' }]]);
  });

  test('says what was done, what failed and what is left, with exit code 1 for the last two', async () => {
    const well = await reattach([repair({}), repair({ kind: 'recreate' })]);
    assert.deepEqual([well.code, well.out], [0, 'restarted app: because\nrecreated app: because\n']);
    const failed = await reattach([repair({ done: false, error: 'no room', fix: 'make room' })]);
    assert.deepEqual([failed.code, failed.out], [1, 'failed app: because\n  no room\n  fix: make room\n']);
    const left = await reattach([repair({ kind: 'none', done: false, fix: 'do it' })]);
    assert.deepEqual([left.code, left.out], [1, 'left app: because\n  fix: do it\n']);
    assert.match((await reattach([])).out, /^Every container is in/);
  });

  test('says what would be done', async () => {
    const { code, out } = await reattach([repair({ done: false })], '--dry-run');
    assert.deepEqual([code, out], [0, 'to be restarted app: because\n']);
    assert.equal((await reattach([repair({ kind: 'none', done: false })], '--dry-run')).code, 1);
  });

  test('gives the same as JSON', async () => {
    const { out } = await reattach([repair({})], '--json');
    assert.deepEqual(JSON.parse(out), { ok: true, dryRun: false, repairs: [repair({})] });
  });

  test('takes no setting and one operand', async () => {
    const { code, err } = await cli(['reattach', 'a', 'b', '--bastion', 'ssh://u@h'], {});
    assert.equal(code, 64);
    assert.match(err, /--bastion: not a flag of "reattach"/);
    assert.match(err, /"b": "netproxy reattach" takes one operand/);
  });
});

describe('netproxy status --docker', () => {
  const told: readonly ToldContainer[] = [
    { id: 'b', name: 'app', running: true, role: 'dependent', provider: 'way', namespace: 'orphaned' },
    { id: 'a', name: 'way', running: true, role: 'provider', namespace: 'own', health: 'healthy' },
    // A namespace of this number is not there, nor is a netproxy in it.
    { id: 'c', name: 'web', running: true, role: 'attached', namespace: 'own', netns: '0' },
  ];

  test('prints a table, and what mends what is wrong', async () => {
    const { code, out } = await cli(['status', '--docker'], { containers: async () => told });
    assert.equal(code, 0);
    assert.match(out, /^CONTAINER  ROLE       PROVIDER  NAMESPACE  HEALTH   NETPROXY\n/);
    assert.match(out, /^app        dependent  way       orphaned   -        -$/m);
    assert.match(out, /^way        provider   -         its own    healthy  -$/m);
    assert.match(
      out,
      /^web        attached   -         its own    -        not ready\n  no netproxy answers: /m,
    );
    assert.match(out, /\nfix: netproxy reattach\n$/);
    assert.match(
      (await cli(['status', '--docker'], { containers: async () => [] })).out,
      /^No container is attached/,
    );
  });

  test('prints the same as JSON', async () => {
    const { out } = await cli(['status', '--docker', '--json'], { containers: async () => told.slice(0, 2) });
    assert.deepEqual(JSON.parse(out), { containers: told.slice(0, 2) });
  });
});

describe('netproxy attach', () => {
  test('is told its container or --watch, and labels win over flags', async () => {
    const told: unknown[] = [];
    const attach: Commands['attach'] = async ({ container, settings }, _io, ready) => {
      const { config, source, isDefault } = await settings({ 'netproxy.local': '10.0.0.0/8' }, 'web');
      told.push(container, config.local, config.bastions[0]?.host, isDefault('onExit'), isDefault('local'));
      told.push(source.describe().find(({ key }) => key === 'local')?.origin);
      ready('web: it works');
    };
    const flags = [
      '--bastion',
      'ssh://u@h',
      '--agent',
      '/agent',
      '--host-key',
      'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
      '--local',
      '192.0.2.0/24',
    ];
    const { code, out, err } = await cli(['attach', 'web', ...flags], { attach });
    assert.equal(err, '');
    assert.deepEqual([code, out], [130, 'web: it works\n']);
    assert.deepEqual(told, ['web', ['10.0.0.0/8'], 'h', true, false, 'container web, label netproxy.local']);
    const watching = await cli(['attach', '--watch'], {
      attach: async ({ container }) => assert.equal(container, undefined),
    });
    assert.deepEqual([watching.code, watching.err], [130, '']);
  });

  test('takes one of the two, and no setting of the process', async () => {
    for (const argv of [['attach'], ['attach', 'web', '--watch']])
      assert.equal((await cli(argv, {})).code, 64);
    assert.match((await cli(['attach', 'web', '--user', 'keep'], {})).err, /--user: not a flag of "attach"/);
  });

  test('tells every problem of labels and settings at once', async () => {
    const attach: Commands['attach'] = async ({ settings }) => {
      await settings({ 'netproxy.onExit': 'ajar', 'netproxy.x': 'y' }, 'web');
    };
    const { code, err } = await cli(['attach', 'web'], { attach });
    assert.equal(code, 64);
    for (const part of [
      /label netproxy\.onExit: found "ajar"/,
      /label netproxy\.x: no such label/,
      /no bastion is given/,
    ])
      assert.match(err, part);
  });
});

describe('"watch"', () => {
  test('is a setting with a value or a switch, as the command has it', () => {
    const run = parseArguments(['run', '--watch', 'false']);
    assert.deepEqual([run.problems, run.flags.get('watch')?.[0]?.text], [[], 'false']);
    for (const command of ['attach', 'connections']) {
      const { problems, switches, flags } = parseArguments([command, '--watch']);
      assert.deepEqual([problems, switches.has('watch'), flags.has('watch')], [[], true, false]);
    }
  });

  test('is completed with values only where it takes one', () => {
    const complete = (line: string): string => {
      const script = `${completion('bash')}
        COMP_WORDS=(${line} ''); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _netproxy; echo "\${COMPREPLY[*]}"`;
      return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim();
    };
    assert.equal(complete('netproxy run --watch'), 'true false');
    assert.match(complete('netproxy attach --watch'), /--bastion/);
  });
});
